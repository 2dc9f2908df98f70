// Whether an access lies in a mapping, by the numbers that JavaScript says, and how many words the
// bitmap of a range has that the kernel fills.
#include "../../native/feature.cc"
#include "../../native/mapping.h"
#include "../../native/mmio.h"
#include "input.h"

Mapping::Mapping(void* pages, size_t total, size_t skip, Range read_only)
    : start_(static_cast<std::byte*>(pages) + skip),
      size_(total - skip),
      read_only_(read_only),
      pages_(pages),
      total_(total) {}
Mapping::~Mapping() = default;

// No thread has a lease of it.
int uv_mutex_init(uv_mutex_t*) { return 0; }
void uv_mutex_destroy(uv_mutex_t*) {}
int uv_cond_init(uv_cond_t*) { return 0; }
void uv_cond_destroy(uv_cond_t*) {}

using Wide = unsigned __int128;

static void TryMapping(Input& input) {
  const uint64_t skip = input.Take<uint16_t>() % 4096;
  const uint64_t size = input.Take<uint64_t>() >> 11;
  Mapping::Range read_only = {input.Take<uint64_t>() >> 11, input.Take<uint64_t>() >> 11};
  // Never accessed: only numbers are looked at.
  const Mapping mapping(reinterpret_cast<void*>(0x10000), size + skip, skip, read_only);
  Mailbox mailbox = {};
  mailbox.offset = input.Take<double>();
  uint64_t offset = 0;
  if (!OffsetOf(mailbox, &offset)) return;
  Require(static_cast<double>(offset) == mailbox.offset && offset < uint64_t{1} << 53);
  const uint64_t width = uint64_t{1} << (input.Take<uint8_t>() % 4);
  const bool holds = mapping.Holds(offset, width);
  Require(holds == (Wide{offset} + width <= size));
  if (!holds) return;
  const bool overlaps = offset < read_only.end && offset + width > read_only.start;
  Require(mapping.IsWritable(offset, width) == !overlaps);
  Require(mapping.IsAligned(offset, width) == ((skip + offset) % width == 0));
}

static void TryBitmap(Input& input) {
  const uint64_t length = input.Take<uint64_t>();
  const uint64_t page = input.Take<uint64_t>();
  const auto words = BitmapWords(length, page);
  if (!words) return;
  const Wide pages = (Wide{length} + page - 1) / page;
  Require(Wide{*words} * 64 >= pages && Wide{*words - 1} * 64 < pages);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input(data, size);
  TryMapping(input);
  TryBitmap(input);
  return 0;
}
