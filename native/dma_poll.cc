#include "dma_poll.h"

#include <time.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "addon.h"
#include "arguments.h"
#include "export.h"
#include "mmio.h"

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

uint32_t Word(const volatile std::byte* place, uint8_t width) {
  if (width == 4) return LittleEndian(LoadOnce<uint32_t>(place));
  if (width == 2) return LittleEndian(LoadOnce<uint16_t>(place));
  return LoadOnce<uint8_t>(place);
}

}  // namespace

uint32_t DmaPoll::Take(const volatile std::byte* memory) {
  const uint32_t found = layout_.is_counter ? TakeCounted(memory) : TakeEntries(memory);
  OrderLoads();
  return found;
}

uint32_t DmaPoll::TakeEntries(const volatile std::byte* memory) {
  const auto& [is_counter, width, mask, value, step, count, most, offset, stride] = layout_;
  uint32_t found = 0;
  while (found < most) {
    const uint32_t word = Word(memory + offset + head_ * stride, width);
    if ((word & mask) != value) break;
    found++;
    head_++;
    if (head_ < count) continue;
    head_ = 0;
    layout_.value = (value + step) & mask;
  }
  return found;
}

uint32_t DmaPoll::TakeCounted(const volatile std::byte* memory) {
  const uint32_t word = Word(memory + layout_.offset, layout_.width);
  const uint32_t found = std::min((word - head_) & layout_.mask, layout_.most);
  head_ = (head_ + found) & layout_.mask;
  return found;
}

namespace {

// As Take, for so many microseconds at most where nothing is new.
uint32_t Spin(DmaPoll& poll, const volatile std::byte* memory, uint32_t microseconds) {
  if (const uint32_t found = poll.Take(memory); found > 0 || microseconds == 0) return found;
  const int64_t deadline = Now() + int64_t{std::min(microseconds, kMostSpin)} * 1000;
  do {
    for (int look = 0; look < kLooksOfClock; look++) {
      Pause();
      if (const uint32_t found = poll.Take(memory); found > 0) return found;
    }
  } while (Now() < deadline);
  return 0;
}

// By mail: ([prepared,] poll, spin) -> status, failed_at, found, first, head. Nothing is rung where
// there is nothing to poll.
template <bool ring>
int32_t RingAndPoll(Addon& addon, Mailbox& mailbox) {
  DmaPoll* poll = addon.dma_polls.Find(mailbox.poll);
  if (poll == nullptr) return kRefused;
  const Memory* memory = addon.memories.Find(poll->memory());
  if (memory == nullptr) return kRefused;
  if constexpr (ring) {
    if (const int32_t status = RunPrepared(addon, mailbox); status != kDone) return status;
  }
  mailbox.first = poll->head();
  mailbox.found = Spin(*poll, reinterpret_cast<std::byte*>(memory->data()), mailbox.spin);
  mailbox.head = poll->head();
  return kDone;
}

template <bool ring>
napi_value PollByMail(napi_env env, napi_callback_info info) {
  void* data = nullptr;
  if (napi_get_cb_info(env, info, nullptr, nullptr, nullptr, &data) != napi_ok) return nullptr;
  auto* addon = static_cast<Addon*>(data);
  addon->mailbox->status = RingAndPoll<ring>(*addon, *addon->mailbox);
  return nullptr;
}

bool IsWithin(const Memory& memory, const DmaPoll::Layout& layout) {
  const uint64_t width = layout.width;
  if (layout.offset % width != 0 || layout.stride % width != 0) return false;
  const uint64_t strides = layout.count - 1;
  if (layout.offset > memory.size() || layout.stride > memory.size()) return false;
  if (strides > 0 && layout.stride > memory.size() / strides) return false;
  return memory.Has(layout.offset + layout.stride * strides, width);
}

bool IsSensible(const DmaPoll::Layout& layout) {
  const bool is_width = layout.width == 1 || layout.width == 2 || layout.width == 4;
  return is_width && layout.count > 0 && layout.most > 0;
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
  const DmaPoll::Layout layout = {word[0] != 0, static_cast<uint8_t>(word[1]),
                                  word[2],      word[3],
                                  word[4],      word[5],
                                  word[6],      *offset,
                                  *stride};
  const Memory* memory = addon.memories.Find(*handle);
  if (memory == nullptr || !IsSensible(layout) || !IsWithin(*memory, layout)) return {};
  return addon.dma_polls.Add(std::make_shared<DmaPoll>(*handle, layout));
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
  ExportShortCall<PollRelease>(env, exports, "dmaPollRelease");
  ExportPlain(env, exports, "pollMemory", PollByMail<false>);
  ExportPlain(env, exports, "ringAndPoll", PollByMail<true>);
}
