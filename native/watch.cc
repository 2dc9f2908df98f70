#include "watch.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <climits>

#include "addon.h"
#include "arguments.h"
#include "slow_call.h"

namespace {

// Names that come and go, what is moved over them, and their rights; the end of the folder itself.
constexpr uint32_t kChanges = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB |
                              IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;

// Every wait of the environment ends when it does: the environment waits for its slow calls.
int EndWaitsWith(Napi::Env env, Addon* addon) {
  if (addon->end_of_waits) return 0;
  // Hooks run in the reverse order of their making, so the slow calls must have theirs already.
  if (addon->slow_calls == nullptr) addon->slow_calls = SlowCalls::Start(env);
  const int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fd < 0) return -errno;
  addon->end_of_waits = std::make_shared<Fd>(fd);
  const auto end = [](void* data) {
    eventfd_write(static_cast<Addon*>(data)->end_of_waits->number(), 1);
  };
  napi_add_env_cleanup_hook(env, end, addon);
  return 0;
}

// watchOpen() -> handle
Napi::Value WatchOpen(const Napi::CallbackInfo& info) {
  auto* addon = info.Env().GetInstanceData<Addon>();
  const int error = EndWaitsWith(info.Env(), addon);
  if (error < 0) return Napi::Number::New(info.Env(), error);
  const int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  if (fd < 0) return Napi::Number::New(info.Env(), -errno);
  return Napi::Number::New(info.Env(), addon->fds.Add(fd));
}

// watchFolder(handle, path) -> the number of the watch
Napi::Value WatchFolder(const Napi::CallbackInfo& info) {
  const auto fd = FdArgument(info, 0);
  const auto path = StringArgument(info, 1);
  if (!fd || !path) return info.Env().Undefined();
  const int result = RetryOnSignal([&] { return inotify_add_watch(*fd, path->c_str(), kChanges); });
  return Napi::Number::New(info.Env(), result);
}

// unwatch(handle, watch): is itself a change, which wakes who waits
Napi::Value Unwatch(const Napi::CallbackInfo& info) {
  const auto fd = FdArgument(info, 0);
  const auto watch = Uint32Argument(info, 1);
  if (!fd || !watch) return info.Env().Undefined();
  const int result = inotify_rm_watch(*fd, static_cast<int>(*watch));
  return Napi::Number::New(info.Env(), result < 0 ? -errno : result);
}

// Forgets the changes so far: that there was one is all that is told.
int Drain(int watch) {
  alignas(inotify_event) std::array<char, 4096> events;
  for (;;) {
    const ssize_t length = read(watch, events.data(), events.size());
    if (length < 0 && errno == EAGAIN) return 0;
    if (length < 0 && errno != EINTR) return -errno;
  }
}

int Wait(int watch, int end, int milliseconds) {
  std::array<pollfd, 2> fds = {{{watch, POLLIN, 0}, {end, POLLIN, 0}}};
  const int ready = poll(fds.data(), fds.size(), milliseconds);
  // A signal ends the wait as a change does: the caller knows how much time is left.
  if (ready < 0) return errno == EINTR ? 1 : -errno;
  const int error = Drain(watch);
  return error < 0 ? error : ready;
}

// waitForChange(handle, milliseconds) -> 0 when the time is up
Call WaitForChange(const Napi::CallbackInfo& info) {
  auto watch = LeaseArgument(info, 0);
  const auto milliseconds = Uint32Argument(info, 1);
  const auto* addon = info.Env().GetInstanceData<Addon>();
  if (!watch || !milliseconds || *milliseconds > INT_MAX || !addon->end_of_waits) return {};
  return [watch = std::move(*watch), end = FdLease(addon->end_of_waits),
          time = static_cast<int>(*milliseconds)]() -> int64_t {
    if (watch.number() < 0) return watch.number();
    return Wait(watch.number(), end.number(), time);
  };
}

}  // namespace

void ExportWatch(Napi::Env env, Napi::Object exports) {
  exports["watchOpen"] = Napi::Function::New(env, WatchOpen, "watchOpen");
  exports["watchFolder"] = Napi::Function::New(env, WatchFolder, "watchFolder");
  exports["unwatch"] = Napi::Function::New(env, Unwatch, "unwatch");
  ExportSlowCall<WaitForChange>(env, exports, "waitForChange");
}
