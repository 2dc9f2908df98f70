#include "eventfd.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "addon.h"
#include "arguments.h"
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
Napi::Value EventfdOpen(const Napi::CallbackInfo& info) {
  const int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fd < 0) return Napi::Number::New(info.Env(), -errno);
  return Napi::Number::New(info.Env(), info.Env().GetInstanceData<Addon>()->fds.Add(fd));
}

// dup(descriptor number) -> handle
Napi::Value Dup(const Napi::CallbackInfo& info) {
  const auto number = Uint32Argument(info, 0);
  if (!number) return info.Env().Undefined();
  const int fd = fcntl(static_cast<int>(*number), F_DUPFD_CLOEXEC, 0);
  if (fd < 0) return Napi::Number::New(info.Env(), -errno);
  return Napi::Number::New(info.Env(), info.Env().GetInstanceData<Addon>()->fds.Add(fd));
}

// eventfdRead(handle) -> count, which is 0 from then on
Napi::Value EventfdRead(const Napi::CallbackInfo& info) {
  const auto fd = FdArgument(info, 0);
  if (!fd) return info.Env().Undefined();
  return Napi::Number::New(info.Env(), Read(*fd));
}

// eventfdWrite(handle, count): adds to what a read will answer
Napi::Value EventfdWrite(const Napi::CallbackInfo& info) {
  const auto fd = FdArgument(info, 0);
  const auto count = Uint32Argument(info, 1);
  if (!fd || !count) return info.Env().Undefined();
  const int result = RetryOnSignal([&] { return eventfd_write(*fd, *count); });
  return Napi::Number::New(info.Env(), result);
}

// eventfdWatch(handle, callback)
Napi::Value EventfdWatch(const Napi::CallbackInfo& info) {
  auto* addon = info.Env().GetInstanceData<Addon>();
  const auto handle = Uint32Argument(info, 0);
  std::shared_ptr<Fd> fd = handle ? addon->fds.Find(*handle) : nullptr;
  if (!fd || !info[1].IsFunction()) return info.Env().Undefined();
  if (addon->polls == nullptr) addon->polls = Polls::Start(info.Env());
  if (addon->polls == nullptr) return info.Env().Undefined();
  const auto callback = info[1].As<Napi::Function>();
  const int result = addon->polls->Add(*handle, fd, UV_READABLE, TellCount, callback);
  return Napi::Number::New(info.Env(), result);
}

// eventfdUnwatch(handle) -> 1, or 0 where it was not watched
Napi::Value EventfdUnwatch(const Napi::CallbackInfo& info) {
  const auto handle = Uint32Argument(info, 0);
  if (!handle) return info.Env().Undefined();
  Polls* polls = info.Env().GetInstanceData<Addon>()->polls;
  return Napi::Number::New(info.Env(), polls != nullptr && polls->Remove(*handle));
}

// eventfdRef(handle, boolean) -> 1, or 0 where it is not watched
Napi::Value EventfdRef(const Napi::CallbackInfo& info) {
  const auto handle = Uint32Argument(info, 0);
  if (!handle || !info[1].IsBoolean()) return info.Env().Undefined();
  Polls* polls = info.Env().GetInstanceData<Addon>()->polls;
  const bool ref = info[1].As<Napi::Boolean>();
  return Napi::Number::New(info.Env(), polls != nullptr && polls->SetRef(*handle, ref));
}

}  // namespace

void ExportEventfd(Napi::Env env, Napi::Object exports) {
  exports["dup"] = Napi::Function::New(env, Dup, "dup");
  exports["eventfdOpen"] = Napi::Function::New(env, EventfdOpen, "eventfdOpen");
  exports["eventfdRead"] = Napi::Function::New(env, EventfdRead, "eventfdRead");
  exports["eventfdWrite"] = Napi::Function::New(env, EventfdWrite, "eventfdWrite");
  exports["eventfdWatch"] = Napi::Function::New(env, EventfdWatch, "eventfdWatch");
  exports["eventfdUnwatch"] = Napi::Function::New(env, EventfdUnwatch, "eventfdUnwatch");
  exports["eventfdRef"] = Napi::Function::New(env, EventfdRef, "eventfdRef");
}
