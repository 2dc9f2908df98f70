#include "eventfd.h"

#include <sys/eventfd.h>

#include "addon.h"
#include "answers.h"
#include "arguments.h"
#include "export.h"
#include "system_call.h"

namespace {

// The count since the last read, or -errno; -EAGAIN where there was none.
double Read(int fd) {
  for (;;) {
    eventfd_t count = 0;
    if (eventfd_read(fd, &count) == 0) return static_cast<double>(count);
    if (errno != EINTR) return -errno;
  }
}

// One read for a wake: it takes all that was counted so far. -EAGAIN: somebody else has read it.
double TellCount(int fd, int) { return Read(fd); }

// eventfdOpen() -> handle
std::optional<Answer> EventfdOpen(const Napi::CallbackInfo&) {
  return FdAnswer(RetryOnSignal([] { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }));
}

// dup(descriptor number) -> handle
std::optional<Answer> Dup(const Napi::CallbackInfo& info) {
  const auto number = Uint32Argument(info, 0);
  if (!number) return {};
  return FdAnswer(Duplicate(static_cast<int>(*number)));
}

// eventfdRead(handle) -> count, which is 0 from then on
std::optional<Answer> EventfdRead(const Napi::CallbackInfo& info) {
  const auto fd = FdArgument(info, 0);
  if (!fd) return {};
  return Read(*fd);
}

// eventfdWrite(handle, count): adds to what a read will answer
std::optional<Answer> EventfdWrite(const Napi::CallbackInfo& info) {
  const auto fd = FdArgument(info, 0);
  const auto count = Uint32Argument(info, 1);
  if (!fd || !count) return {};
  return RetryOnSignal([&] { return eventfd_write(*fd, *count); });
}

// eventfdWatch(handle, callback)
std::optional<Answer> EventfdWatch(const Napi::CallbackInfo& info) {
  const auto handle = HandleArgument(info, 0);
  if (!handle || !info[1].IsFunction()) return {};
  Polls* polls = Polls::Of(info.Env());
  if (polls == nullptr) return {};
  const auto callback = info[1].As<Napi::Function>();
  return polls->Add(*handle, UV_READABLE, TellCount, callback);
}

// eventfdUnwatch(handle) -> 1, or 0 where it was not watched
std::optional<Answer> EventfdUnwatch(const Napi::CallbackInfo& info) {
  const auto handle = Uint32Argument(info, 0);
  if (!handle) return {};
  Polls* polls = AddonOf(info.Env()).polls;
  return polls != nullptr && polls->Remove(*handle);
}

// eventfdRef(handle, boolean) -> 1, or 0 where it is not watched
std::optional<Answer> EventfdRef(const Napi::CallbackInfo& info) {
  const auto handle = Uint32Argument(info, 0);
  if (!handle || !info[1].IsBoolean()) return {};
  Polls* polls = AddonOf(info.Env()).polls;
  const bool ref = info[1].As<Napi::Boolean>();
  return polls != nullptr && polls->SetRef(*handle, ref);
}

}  // namespace

void ExportEventfd(Napi::Env env, Napi::Object exports) {
  ExportShortCall<Dup>(env, exports, "dup");
  ExportShortCall<EventfdOpen>(env, exports, "eventfdOpen");
  ExportShortCall<EventfdRead>(env, exports, "eventfdRead");
  ExportShortCall<EventfdWrite>(env, exports, "eventfdWrite");
  ExportShortCall<EventfdWatch>(env, exports, "eventfdWatch");
  ExportShortCall<EventfdUnwatch>(env, exports, "eventfdUnwatch");
  ExportShortCall<EventfdRef>(env, exports, "eventfdRef");
}
