#include "watch.h"

#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <climits>

#include "answers.h"
#include "arguments.h"
#include "export.h"
#include "system_call.h"

namespace {

// Names that come and go, what is moved over them, and their rights; the end of the folder itself.
constexpr uint32_t kChanges = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB |
                              IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;

// watchOpen() -> handle
std::optional<Answer> WatchOpen(const Napi::CallbackInfo&) {
  return FdAnswer(RetryOnSignal([] { return inotify_init1(IN_CLOEXEC | IN_NONBLOCK); }));
}

// watchFolder(handle, path) -> the number of the watch
std::optional<Answer> WatchFolder(const Napi::CallbackInfo& info) {
  const auto fd = FdArgument(info, 0);
  const auto path = StringArgument(info, 1);
  if (!fd || !path) return {};
  return RetryOnSignal([&] { return inotify_add_watch(*fd, path->c_str(), kChanges); });
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

enum WaitStep : int { kPoll, kRead };

// waitForChangeSync(handle, milliseconds) -> 0 when the time is up, or the step that failed. Blocks
// this thread; who does not want that has the loop poll the descriptor first.
std::optional<Answer> WaitForChange(const Napi::CallbackInfo& info) {
  const auto watch = FdArgument(info, 0);
  const auto milliseconds = Uint32Argument(info, 1);
  if (!watch || !milliseconds || *milliseconds > INT_MAX) return {};
  pollfd polled = {*watch, POLLIN, 0};
  const int ready = poll(&polled, 1, static_cast<int>(*milliseconds));
  // A signal ends the wait as a change does: the caller knows how much time is left.
  if (ready < 0) return errno == EINTR ? 1 : FailedStep(kPoll, errno);
  const int error = Drain(*watch);
  return error < 0 ? FailedStep(kRead, -error) : ready;
}

}  // namespace

void ExportWatch(Napi::Env env, Napi::Object exports) {
  ExportShortCall<WatchOpen>(env, exports, "watchOpen");
  ExportShortCall<WatchFolder>(env, exports, "watchFolder");
  ExportShortCall<WaitForChange>(env, exports, "waitForChangeSync");
}
