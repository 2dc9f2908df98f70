#include "hot.h"

#include <time.h>

#include <optional>
#include <utility>

#include "addon.h"
#include "arguments.h"
#include "export.h"
#include "fault_guard.h"
#include "mmio.h"

// Waiting until some bits of a register have a value.

namespace {

constexpr int64_t kNanosecondsOfMillisecond = 1'000'000;

int64_t Now() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000 * kNanosecondsOfMillisecond + now.tv_nsec;
}

void Spin() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// So short that nobody waits longer for it than for the two changes of thread of a slow call.
void Rest() {
  const timespec time = {0, 50'000};
  nanosleep(&time, nullptr);
}

struct Poll {
  uint64_t offset;
  uint32_t mask;
  uint32_t value;
  int64_t nanoseconds;
};

// The value that matched; -ETIMEDOUT, -EIO after a fault, -ECANCELED when the mapping is closing.
Answer Wait(const Mapping& mapping, const Poll& poll, void (*pause)()) {
  const volatile std::byte* place = mapping.at(poll.offset);
  const int64_t deadline = Now() + poll.nanoseconds;
  for (;;) {
    if (mapping.is_closing()) return -ECANCELED;
    // Before the read: a value that came in time counts, however late it is seen.
    const bool is_late = Now() >= deadline;
    uint32_t value = 0;
    const int error = Guarded(place, sizeof(value), [&] { value = Load<uint32_t>(place); });
    if (error < 0) return error;
    if ((value & poll.mask) == poll.value) return value;
    if (is_late) return -ETIMEDOUT;
    pause();
  }
}

// (mapping, offset, mask, value, milliseconds), without the mapping
std::optional<Poll> PollArguments(const Napi::CallbackInfo& info) {
  const auto offset = SafeIntegerArgument(info, 1);
  const auto mask = Uint32Argument(info, 2);
  const auto value = Uint32Argument(info, 3);
  const auto milliseconds = Uint32Argument(info, 4);
  if (!offset || !mask || !value || !milliseconds) return std::nullopt;
  return Poll{*offset, *mask, *value, *milliseconds * kNanosecondsOfMillisecond};
}

bool IsPlace(const Mapping& mapping, uint64_t offset) {
  return mapping.IsAligned(offset, sizeof(uint32_t)) && mapping.Holds(offset, sizeof(uint32_t));
}

// poll32Sync(…) -> the value; reads as often as it can
std::optional<Answer> PollSync(const Napi::CallbackInfo& info) {
  const auto handle = Uint32Argument(info, 0);
  const auto poll = PollArguments(info);
  if (!handle || !poll) return {};
  const Mapping* mapping = AddonOf(info.Env()).mappings.Find(*handle);
  if (mapping == nullptr || !IsPlace(*mapping, poll->offset)) return {};
  return Wait(*mapping, *poll, Spin);
}

// poll32(…): the same on a thread, resting between the reads. The environment's end waits for it:
// the caller asks for a short time, and again.
Call PollSlowly(const Napi::CallbackInfo& info) {
  const auto mapping = NamedArgument(info, 0, AddonOf(info.Env()).mappings);
  const auto poll = PollArguments(info);
  if (!mapping || !poll || !IsPlace(*mapping, poll->offset)) return {};
  return [lease = Lease<Mapping>(mapping), poll = *poll]() -> Answer {
    return lease.get() == nullptr ? -ECANCELED : Wait(*lease.get(), poll, Rest);
  };
}

}  // namespace

void ExportMmioPoll(Napi::Env env, Napi::Object exports) {
  ExportPromise<PollSlowly>(env, exports, "poll32");
  ExportShortCall<PollSync>(env, exports, "poll32Sync");
}
