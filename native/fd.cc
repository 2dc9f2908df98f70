#include "fd.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>

#include "addon.h"
#include "arguments.h"
#include "irq_owners.h"
#include "irqs.h"
#include "slow_call.h"
#include "system_call.h"

Fd::Fd(int fd) : Fd(fd, std::make_shared<OpenFile>()) {}

Fd::Fd(int fd, std::shared_ptr<OpenFile> file) : fd_(fd), file_(std::move(file)) {
  uv_mutex_init(&mutex_);
  uv_cond_init(&idle_);
  if (fd_ >= 0) file_->Opened(fd_);
}

Fd::~Fd() {
  Close();
  uv_cond_destroy(&idle_);
  uv_mutex_destroy(&mutex_);
}

int Fd::Acquire(std::shared_ptr<OpenFile>* file) {
  uv_mutex_lock(&mutex_);
  const int fd = fd_;
  if (fd >= 0) {
    leases_++;
    *file = file_;
  }
  uv_mutex_unlock(&mutex_);
  return fd >= 0 ? fd : -EBADF;
}

void Fd::Release() {
  uv_mutex_lock(&mutex_);
  leases_--;
  if (leases_ == 0) uv_cond_broadcast(&idle_);
  uv_mutex_unlock(&mutex_);
}

int Fd::Close() {
  uv_mutex_lock(&mutex_);
  const int fd = fd_;
  fd_ = -1;
  while (leases_ > 0) uv_cond_wait(&idle_, &mutex_);
  const std::shared_ptr<OpenFile> file = std::move(file_);
  uv_mutex_unlock(&mutex_);
  if (fd < 0) return 0;
  if (irq_owners_) irq_owners_->Leave(this, [fd](uint32_t index) { DisableIrqs(fd, index); });
  file->Closing(fd);
  // Linux frees the number even when close fails with EINTR: never try twice.
  // The file goes after it: then the kernel has undone what it undoes by itself.
  return close(fd) == 0 ? 0 : -errno;
}

FdLease::FdLease(std::shared_ptr<Fd> fd) : fd_(std::move(fd)), number_(fd_->Acquire(&file_)) {}

FdLease::FdLease(const FdLease& other) : FdLease(other.fd_) {}

FdLease::FdLease(FdLease&& other) noexcept
    : fd_(std::move(other.fd_)), file_(std::move(other.file_)), number_(other.number_) {}

FdLease::~FdLease() {
  file_.reset();  // before: who closes waits for the release, and is to be the last
  if (fd_ && number_ >= 0) fd_->Release();
}

uint32_t FdTable::Add(int fd) { return Add(std::make_shared<Fd>(fd)); }

uint32_t FdTable::Add(int fd, std::shared_ptr<OpenFile> file) {
  return Add(std::make_shared<Fd>(fd, std::move(file)));
}

uint32_t FdTable::Add(std::shared_ptr<Fd> fd) {
  // Handles start anew after 2^32 descriptors: far from those that are still open.
  do last_++;
  while (last_ == 0 || fds_.contains(last_));
  fds_.emplace(last_, std::move(fd));
  return last_;
}

std::shared_ptr<Fd> FdTable::Find(uint32_t handle) const {
  const auto found = fds_.find(handle);
  return found == fds_.end() ? nullptr : found->second;
}

std::shared_ptr<Fd> FdTable::Take(uint32_t handle) {
  std::shared_ptr<Fd> fd = Find(handle);
  fds_.erase(handle);
  return fd;
}

namespace {

// open(path, flags) -> handle
Napi::Value Open(const Napi::CallbackInfo& info) {
  const auto path = StringArgument(info, 0);
  const auto flags = Uint32Argument(info, 1);
  if (!path || !flags) return info.Env().Undefined();
  const int fd = RetryOnSignal(
      [&] { return open(path->c_str(), static_cast<int>(*flags) | O_CLOEXEC | O_NOCTTY); });
  if (fd < 0) return Napi::Number::New(info.Env(), fd);
  FdTable& fds = info.Env().GetInstanceData<Addon>()->fds;
  return Napi::Number::New(info.Env(), fds.Add(fd, OpenFile::New()));
}

// take(descriptor's number) -> handle of another descriptor of the same open file, which is known
// again where it is one of this process's
Napi::Value Take(const Napi::CallbackInfo& info) {
  const auto number = Uint32Argument(info, 0);
  if (!number) return info.Env().Undefined();
  const int fd = fcntl(static_cast<int>(*number), F_DUPFD_CLOEXEC, 0);
  if (fd < 0) return Napi::Number::New(info.Env(), -errno);
  FdTable& fds = info.Env().GetInstanceData<Addon>()->fds;
  return Napi::Number::New(info.Env(), fds.Add(fd, OpenFile::Of(static_cast<int>(*number))));
}

// hold(descriptor, other): the kernel keeps the open file of the other as long as that of the one
Napi::Value Hold(const Napi::CallbackInfo& info) {
  const auto lease = LeaseArgument(info, 0);
  const auto other = LeaseArgument(info, 1);
  if (!lease || !other) return info.Env().Undefined();
  if (lease->number() < 0 || other->number() < 0) return Napi::Number::New(info.Env(), -EBADF);
  lease->file()->Hold(other->file());
  return Napi::Number::New(info.Env(), 0);
}

// fstat(handle, Uint32Array [mode, major, minor])
Napi::Value Fstat(const Napi::CallbackInfo& info) {
  const auto fd = FdArgument(info, 0);
  const auto out = Uint32ArrayArgument(info, 1, 3);
  if (!fd || !out) return info.Env().Undefined();
  // glibc has a function named fstat since 2.33 only; before, it was a macro over another name.
  struct statx st = {};
  const int result =
      RetryOnSignal([&] { return statx(*fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_MODE, &st); });
  out->data()[0] = st.stx_mode;
  out->data()[1] = st.stx_rdev_major;
  out->data()[2] = st.stx_rdev_minor;
  return Napi::Number::New(info.Env(), result);
}

// fdNumber(handle) -> the descriptor's number, by which others may get what it is a descriptor of
Napi::Value FdNumber(const Napi::CallbackInfo& info) {
  const auto lease = LeaseArgument(info, 0);
  if (!lease) return info.Env().Undefined();
  if (lease->file()) lease->file()->maps.Share();
  return Napi::Number::New(info.Env(), lease->number());
}

// A handle that is known.
std::optional<uint32_t> HandleArgument(const Napi::CallbackInfo& info, size_t index) {
  const auto handle = Uint32Argument(info, index);
  if (!handle || !info.Env().GetInstanceData<Addon>()->fds.Find(*handle)) return std::nullopt;
  return handle;
}

std::shared_ptr<Fd> Forget(Napi::Env env, uint32_t handle) {
  auto* addon = env.GetInstanceData<Addon>();
  // First: libuv must not poll a number that the kernel gives to somebody else.
  if (addon->polls != nullptr) addon->polls->Remove(handle);
  return addon->fds.Take(handle);
}

// close(handle, next or undefined): forgets the handles at once; closes the one, then the other
// whatever came of the first, and answers the first -errno
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
    return result != 0 ? result : after;
  };
}

}  // namespace

void ExportFd(Napi::Env env, Napi::Object exports) {
  exports["open"] = Napi::Function::New(env, Open, "open");
  exports["take"] = Napi::Function::New(env, Take, "take");
  exports["hold"] = Napi::Function::New(env, Hold, "hold");
  exports["fstat"] = Napi::Function::New(env, Fstat, "fstat");
  exports["fdNumber"] = Napi::Function::New(env, FdNumber, "fdNumber");
  ExportSlowCall<Close, WithoutThread::kBlock>(env, exports, "close");
}
