#include "hot.h"

#include "dma_poll.h"

#include <time.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "addon.h"
#include "arguments.h"
#include "export.h"
#include "external_buffer.h"

namespace {

// The event loop stands still meanwhile, so this is the most, whoever asks.
constexpr uint32_t kMostSpin = 1000;
// Looks between two readings of the clock, which costs as much as several.
constexpr int kLooksOfClock = 16;

int64_t Now() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");
#endif
}

}  // namespace

DmaPoll::DmaPoll(uint32_t handle, const Memory& memory, const Layout& layout)
    : memory_(handle),
      layout_(layout),
      start_(reinterpret_cast<const std::byte*>(memory.data() + layout.offset)),
      word_(start_),
      head_(layout.is_counter ? layout.value : 0),
      state_(std::make_shared<State>(State{head_, head_})) {}

bool DmaPoll::Layout::IsSensible() const {
  const bool is_width = width == 1 || width == 2 || width == 4;
  return is_width && count > 0 && most > 0;
}

bool DmaPoll::Layout::IsWithin(uint64_t size) const {
  if (offset % width != 0 || stride % width != 0) return false;
  const uint64_t strides = count - 1;
  if (offset > size || stride > size) return false;
  if (strides > 0 && stride > size / strides) return false;
  const uint64_t last = offset + stride * strides;
  return last <= size && width <= size - last;
}

namespace {

// As Take, for so many microseconds at most where nothing is new.
[[gnu::noinline, gnu::cold]] uint32_t Spin(DmaPoll& poll, uint32_t microseconds) {
  const int64_t deadline = Now() + int64_t{std::min(microseconds, kMostSpin)} * 1000;
  do {
    for (int look = 0; look < kLooksOfClock; look++) {
      Pause();
      if (const uint32_t found = poll.Take(); found > 0) return found;
    }
  } while (Now() < deadline);
  return 0;
}

// By mail: ([prepared,] poll, spin) -> status, failed_at, found. Nothing is rung where there is
// nothing to poll.
template <bool ring>
int32_t RingAndPoll(Addon& addon, Mailbox& mailbox) {
  DmaPoll* poll = addon.dma_polls.Find(mailbox.poll);
  if (poll == nullptr || !poll->IsThere(addon.memories)) [[unlikely]]
    return kRefused;
  if constexpr (ring) {
    const int32_t status = RunPrepared(addon.prepared, addon.mappings, mailbox);
    if (status != kDone) return status;
  }
  uint32_t found = poll->Take();
  if (found == 0 && mailbox.spin > 0) [[unlikely]]
    found = Spin(*poll, mailbox.spin);
  mailbox.found = found;
  return kDone;
}

template <bool ring>
napi_value PollByMail(napi_env env, napi_callback_info info) {
  Addon* addon = AddonOfCall(env, info);
  if (addon == nullptr) return nullptr;
  addon->mailbox->status = RingAndPoll<ring>(*addon, *addon->mailbox);
  return nullptr;
}

// dmaPoll(memory, offset, stride, [counter, width, mask, value, step, count, most]) -> handle
std::optional<Answer> PreparePoll(const Napi::CallbackInfo& info) {
  Addon& addon = AddonOf(info.Env());
  const auto handle = Uint32Argument(info, 0);
  const auto offset = SafeIntegerArgument(info, 1);
  const auto stride = SafeIntegerArgument(info, 2);
  const auto words = Uint32ArrayArgument(info, 3, 7);
  if (!handle || !offset || !stride || !words) return {};
  const auto& word = *words;
  const DmaPoll::Layout layout = {word[0] != 0, word[1], word[2], word[3], word[4],
                                  word[5],      word[6], *offset, *stride};
  const Memory* memory = addon.memories.Find(*handle);
  if (memory == nullptr || !layout.IsSensible() || !layout.IsWithin(memory->size())) return {};
  return addon.dma_polls.Add(std::make_shared<DmaPoll>(*handle, *memory, layout));
}

// dmaPollState(poll) -> an ArrayBuffer of DmaPoll::State
std::optional<Answer> PollState(const Napi::CallbackInfo& info) {
  const auto poll = NamedArgument(info, 0, AddonOf(info.Env()).dma_polls);
  if (!poll) return {};
  return Answer([state = poll->state()](Napi::Env env) {
    return ExternalBuffer(env, state.get(), sizeof(*state), state);
  });
}

// dmaPollRelease(poll): forgets the handle
std::optional<Answer> PollRelease(const Napi::CallbackInfo& info) {
  const auto handle = Uint32Argument(info, 0);
  if (!handle || !AddonOf(info.Env()).dma_polls.Take(*handle)) return {};
  return 0;
}

}  // namespace

void ExportDmaPoll(Napi::Env env, Napi::Object exports) {
  ExportShortCall<PreparePoll>(env, exports, "dmaPoll");
  ExportShortCall<PollState>(env, exports, "dmaPollState");
  ExportShortCall<PollRelease>(env, exports, "dmaPollRelease");
  ExportPlain(env, exports, "pollMemory", PollByMail<false>);
  ExportPlain(env, exports, "ringAndPoll", PollByMail<true>);
}
