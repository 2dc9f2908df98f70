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

// eventfdWatch(handle, callback); -EBUSY where another thread, or another handle of the same file,
// does
std::optional<Answer> EventfdWatch(const Napi::CallbackInfo& info) {
  const auto handle = HandleArgument(info, 0);
  if (!handle || !info[1].IsFunction()) return {};
  Polls* polls = Polls::Of(info.Env());
  if (polls == nullptr) return {};
  const auto callback = info[1].As<Napi::Function>();
  return polls->Add(*handle, UV_READABLE, TellCount, callback, Polls::Loops::kOne);
}

// eventfdUnwatch(handle) -> 1, or 0 where it was not watched
std::optional<Answer> EventfdUnwatch(const Napi::CallbackInfo& info) {
  const auto handle = Uint32Argument(info, 0);
  if (!handle) return {};
  Polls* polls = AddonOf(info.Env()).polls;
  return polls != nullptr && polls->Remove(*handle);
}

// eventfdMethod(handle, receiver, method): called with counts in the callback's place; undefined
// for both ends that -> 1, or 0 where it is not watched
std::optional<Answer> EventfdMethod(const Napi::CallbackInfo& info) {
  const auto handle = Uint32Argument(info, 0);
  const bool ends = info[1].IsUndefined() && info[2].IsUndefined();
  if (!handle || (!ends && (!info[1].IsObject() || !info[2].IsFunction()))) return {};
  Polls* polls = AddonOf(info.Env()).polls;
  if (polls == nullptr) return 0;
  if (ends) return polls->SetMethod(*handle, {}, {});
  return polls->SetMethod(*handle, info[1].As<Napi::Object>(), info[2].As<Napi::Function>());
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
  ExportShortCall<EventfdMethod>(env, exports, "eventfdMethod");
  ExportShortCall<EventfdRef>(env, exports, "eventfdRef");
}
