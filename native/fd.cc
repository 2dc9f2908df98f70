#include "hot.h"

#include "fd.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>

#include "addon.h"
#include "answers.h"
#include "arguments.h"
#include "export.h"
#include "irq_owners.h"
#include "irqs.h"
#include "system_call.h"

Fd::Fd(int fd) : Fd(fd, std::make_shared<OpenFile>()) {}

Fd::Fd(int fd, std::shared_ptr<OpenFile> file) : fd_(fd), file_(std::move(file)) {
  file_->Opened(fd_);
}

int Fd::Close() {
  AwaitLeases();
  if (fd_ < 0) return 0;
  const int fd = std::exchange(fd_, -1);
  const std::shared_ptr<OpenFile> file = std::move(file_);
  if (irq_owners_) irq_owners_->Leave(this, [fd](uint32_t index) { DisableIrqs(fd, index); });
  file->Closing(fd);
  // Linux frees the number even when close fails with EINTR: never try twice.
  // The file goes after it: then the kernel has undone what it undoes by itself.
  return close(fd) == 0 ? 0 : -errno;
}

namespace {

// open(path, flags) -> handle
std::optional<Answer> Open(const Napi::CallbackInfo& info) {
  const auto path = StringArgument(info, 0);
  const auto flags = Uint32Argument(info, 1);
  if (!path || !flags) return {};
  const int fd = RetryOnSignal(
      [&] { return open(path->c_str(), static_cast<int>(*flags) | O_CLOEXEC | O_NOCTTY); });
  if (fd < 0) return fd;
  return FdAnswer(fd, OpenFile::New());
}

// take(descriptor's number) -> handle of another descriptor of the same open file, which is known
// again where it is one of this process's
std::optional<Answer> Take(const Napi::CallbackInfo& info) {
  const auto number = Uint32Argument(info, 0);
  if (!number) return {};
  const int fd = Duplicate(static_cast<int>(*number));
  if (fd < 0) return fd;
  return FdAnswer(fd, OpenFile::Of(static_cast<int>(*number)));
}

// hold(descriptor, other): the kernel keeps the open file of the other as long as that of the one
std::optional<Answer> Hold(const Napi::CallbackInfo& info) {
  const auto lease = LeaseArgument(info, 0);
  const auto other = LeaseArgument(info, 1);
  if (!lease || !other) return {};
  if (lease->number() < 0 || other->number() < 0) return -EBADF;
  lease->file()->Hold(other->file());
  return 0;
}

// flock(descriptor's number): 0 where it is locked now, for as long as a process has this open
// file; -EWOULDBLOCK where another has the lock
std::optional<Answer> Flock(const Napi::CallbackInfo& info) {
  const auto number = Uint32Argument(info, 0);
  if (!number) return {};
  return flock(static_cast<int>(*number), LOCK_EX | LOCK_NB) == 0 ? 0 : -errno;
}

// fstat(handle, Uint32Array [mode, major, minor])
std::optional<Answer> Fstat(const Napi::CallbackInfo& info) {
  const auto fd = FdArgument(info, 0);
  const auto out = Uint32ArrayArgument(info, 1, 3);
  if (!fd || !out) return {};
  // glibc has a function named fstat since 2.33 only; before, it was a macro over another name.
  struct statx st = {};
  const int result =
      RetryOnSignal([&] { return statx(*fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_MODE, &st); });
  out->data()[0] = st.stx_mode;
  out->data()[1] = st.stx_rdev_major;
  out->data()[2] = st.stx_rdev_minor;
  return result;
}

// fdNumber(handle) -> the descriptor's number, by which others may get what it is a descriptor of
std::optional<Answer> FdNumber(const Napi::CallbackInfo& info) {
  const auto lease = LeaseArgument(info, 0);
  if (!lease) return {};
  if (lease->number() >= 0) lease->file()->maps.Share();
  return lease->number();
}

std::shared_ptr<Fd> Forget(Napi::Env env, uint32_t handle) {
  Addon& addon = AddonOf(env);
  // First: libuv must not poll a number that the kernel gives to somebody else.
  if (addon.polls != nullptr) addon.polls->Remove(handle);
  return addon.fds.Take(handle);
}

// close(handle, next or undefined): forgets the handles at once; closes the one, then the other
// whatever came of the first. -(errno + 4096 * errno of the other): those of the kernel are below.
Call Close(const Napi::CallbackInfo& info) {
  const bool has_next = !info[1].IsUndefined();
  const auto handle = HandleArgument(info, 0);
  const auto next_handle = has_next ? HandleArgument(info, 1) : std::nullopt;
  if (!handle || has_next != next_handle.has_value()) return {};
  auto fd = Forget(info.Env(), *handle);
  auto next = has_next ? Forget(info.Env(), *next_handle) : nullptr;
  return [fd = std::move(fd), next = std::move(next)] {
    const int result = fd->Close();
    const int after = next ? next->Close() : 0;
    return result + 4096 * after;
  };
}

}  // namespace

void ExportFd(Napi::Env env, Napi::Object exports) {
  ExportShortCall<Open>(env, exports, "open");
  ExportShortCall<Take>(env, exports, "take");
  ExportShortCall<Hold>(env, exports, "hold");
  ExportShortCall<Flock>(env, exports, "flock");
  ExportShortCall<Fstat>(env, exports, "fstat");
  ExportShortCall<FdNumber>(env, exports, "fdNumber");
  ExportSlowCall<Close, WithoutThread::kBlock>(env, exports, "close");
}
