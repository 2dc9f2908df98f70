#pragma once

#include <napi.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "handles.h"
#include "memory.h"
#include "mmio.h"

// Looking for what a device has written to memory. The memory is named by its handle, which names
// nothing when it is given up.
class DmaPoll {
 public:
  // Words of 1, 2 or 4 bytes, one in each of `count` entries. An entry is new while
  // `(word & mask) == value`; at each wrap of the ring `step` is added to the value, within the
  // mask. A counter is one word, of which the bits of `mask` count what is new.
  struct Layout {
    bool is_counter;
    uint32_t width;
    uint32_t mask;
    uint32_t value;
    uint32_t step;
    uint32_t count;
    uint32_t most;  // that one look finds
    uint64_t offset;
    uint64_t stride;

    bool IsSensible() const;
    // Whether all of its words are aligned, and within a memory of so many bytes.
    bool IsWithin(uint64_t size) const;
  };

  // Where the last look began, and where the next one does: the number of an entry, or what the
  // counter was. JavaScript reads it.
  struct State {
    uint32_t first;
    uint32_t head;
  };

  // `layout` lies in the memory.
  DmaPoll(uint32_t handle, const Memory& memory, const Layout& layout);

  const std::shared_ptr<State>& state() const { return state_; }

  // Whether the memory is there.
  bool IsThere(HandleTable<Memory>& memories) { return memory_.IsIn(memories); }

  // Looks once: how many are new, which are taken then. What the device wrote before it wrote the
  // words is seen afterwards.
  uint32_t Take() {
    state_->first = head_;
    const uint32_t found = layout_.is_counter ? TakeCounted() : TakeEntries();
    state_->head = head_;
    OrderLoads();
    return found;
  }

 private:
  uint32_t TakeEntries() {
    // Copies, kept in registers: the compiler must not assume that memory is the same after a load.
    auto [is_counter, width, mask, value, step, count, most, offset, stride] = layout_;
    const volatile std::byte* word = word_;
    uint32_t head = head_;
    uint32_t found = 0;
    while (found < most && (Word(word, width) & mask) == value) {
      found++;
      head++;
      word += stride;
      if (head < count) [[likely]]
        continue;
      head = 0;
      word = start_;
      value = (value + step) & mask;
    }
    layout_.value = value;
    word_ = word;
    head_ = head;
    return found;
  }

  uint32_t TakeCounted() {
    const uint32_t found =
        std::min((Word(start_, layout_.width) - head_) & layout_.mask, layout_.most);
    head_ = (head_ + found) & layout_.mask;
    return found;
  }

  static uint32_t Word(const volatile std::byte* word, uint32_t width) {
    if (width == 4) [[likely]]
      return LittleEndian(LoadOnce<uint32_t>(word));
    if (width == 2) return LittleEndian(LoadOnce<uint16_t>(word));
    return LoadOnce<uint8_t>(word);
  }

  NamedFor memory_;
  Layout layout_;
  const volatile std::byte* const start_;
  const volatile std::byte* word_;  // that is looked at next
  uint32_t head_;
  const std::shared_ptr<State> state_;
};

void ExportDmaPoll(Napi::Env env, Napi::Object exports);
