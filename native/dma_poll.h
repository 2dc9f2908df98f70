#pragma once

#include <napi.h>

#include <cstddef>
#include <cstdint>

// Looking for what a device has written to memory. The memory is named by its handle, which names
// nothing when it is given up.
class DmaPoll {
 public:
  // Words of 1, 2 or 4 bytes, one in each of `count` entries. An entry is new while
  // `(word & mask) == value`; at each wrap of the ring `step` is added to the value, within the
  // mask. A counter is one word, of which the bits of `mask` count what is new.
  struct Layout {
    bool is_counter;
    uint8_t width;
    uint32_t mask;
    uint32_t value;
    uint32_t step;
    uint32_t count;
    uint32_t most;  // that one look finds
    uint64_t offset;
    uint64_t stride;
  };

  DmaPoll(uint32_t memory, const Layout& layout)
      : memory_(memory), layout_(layout), head_(layout.is_counter ? layout.value : 0) {}

  uint32_t memory() const { return memory_; }

  // Looks once: how many are new, which are taken then. What the device wrote before it wrote the
  // words is seen afterwards.
  uint32_t Take(const volatile std::byte* memory);

  // The entry that is looked at next, or where the counter stood last.
  uint32_t head() const { return head_; }

 private:
  uint32_t TakeEntries(const volatile std::byte* memory);
  uint32_t TakeCounted(const volatile std::byte* memory);

  const uint32_t memory_;
  Layout layout_;
  uint32_t head_;
};

void ExportDmaPoll(Napi::Env env, Napi::Object exports);
