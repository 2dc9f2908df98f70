// Compiled, and read as machine code, by test/unit/accesses.test.ts: an access of device memory of
// each kind and width as native/mmio.h makes it, and faults that the test has to find.
// The names say what the test shall find: verdict_kind_width_what.
#include "../../native/hot.h"
#include "../../native/mmio.h"

extern "C" {

using Place = volatile std::byte*;

uint8_t good_load_8_plain(Place at) { return Load<uint8_t>(at); }
uint16_t good_load_16_plain(Place at) { return Load<uint16_t>(at); }
uint32_t good_load_32_plain(Place at) { return Load<uint32_t>(at); }
uint64_t good_load_64_plain(Place at) { return Load<uint64_t>(at); }

void good_store_8_plain(Place at, uint8_t value) { Store<uint8_t>(at, value); }
void good_store_16_plain(Place at, uint16_t value) { Store<uint16_t>(at, value); }
void good_store_32_plain(Place at, uint32_t value) { Store<uint32_t>(at, value); }
void good_store_64_plain(Place at, uint64_t value) { Store<uint64_t>(at, value); }
// Of a constant: no instruction of x86 that has it in itself, none of arm64 that joins two.
void good_store_32_zero(Place at) { Store<uint32_t>(at, 0); }

// In a loop, where a compiler would move the address on in the access itself.
uint32_t good_load_32_loop(Place at, size_t count) {
  uint32_t all = 0;
  for (size_t row = 0; row < count; row++) all ^= Load<uint32_t>(at + row * 4);
  return all;
}
void good_store_64_loop(Place at, size_t count) {
  for (size_t row = 0; row < count; row++) Store<uint64_t>(at + row * 8, row);
}

// An answer that nobody reads: reading may be what the device waits for.
void good_load_32_unread(Place at) { Load<uint32_t>(at); }

void good_barrier_0_full() { FullBarrier(); }

uint32_t bad_load_32_of_halves(Place at) {
  return LoadOnce<uint16_t>(at) | uint32_t{Load<uint16_t>(at + 2)} << 16;
}
uint32_t bad_load_32_twice(Place at) { return Load<uint32_t>(at) ^ Load<uint32_t>(at); }
uint64_t bad_load_64_of_32(Place at) { return Load<uint32_t>(at); }
uint8_t bad_load_8_of_32(Place at) { return static_cast<uint8_t>(Load<uint32_t>(at)); }
void bad_load_32_not_made(Place) {}
void bad_store_32_as_load(Place at) { Load<uint32_t>(at); }
void bad_barrier_0_none() {}

#if defined(__aarch64__)
uint32_t bad_load_32_without_barrier(Place at) { return LoadOnce<uint32_t>(at); }
void bad_store_32_without_barrier(Place at, uint32_t value) { StoreOnce<uint32_t>(at, value); }
void bad_store_32_barrier_behind(Place at, uint32_t value) {
  StoreOnce<uint32_t>(at, value);
  PublishStores();
}
void bad_load_32_barrier_of_stores(Place at) {
  LoadOnce<uint32_t>(at);
  PublishStores();
}
uint32_t bad_load_32_write_back(Place at) {
  uint32_t value;
  asm volatile("ldr %w0, [%1], #4" : "=&r"(value), "+r"(at)::"memory");
  OrderLoads();
  return value;
}
void bad_store_32_write_back(Place at, uint32_t value) {
  PublishStores();
  asm volatile("str %w1, [%0, #4]!" : "+r"(at) : "r"(value) : "memory");
}
uint64_t bad_load_64_pair(Place at) {
  uint64_t low, high;
  asm volatile("ldp %0, %1, [%2]" : "=&r"(low), "=&r"(high) : "r"(at) : "memory");
  OrderLoads();
  return low ^ high;
}
void bad_store_64_vector(Place at) {
  PublishStores();
  asm volatile("str d0, [%0]" ::"r"(at) : "memory");
}
#else
void bad_load_32_of_strings(Place at) {
  uint32_t value;
  asm volatile("lodsl" : "=a"(value), "+S"(at)::"memory");
}
void bad_store_32_locked(Place at, uint32_t value) {
  asm volatile("xchgl %0, (%1)" : "+r"(value) : "r"(at) : "memory");
}
void bad_load_64_vector(Place at) {
  asm volatile("movq (%0), %%xmm0" ::"r"(at) : "memory", "xmm0");
}
void bad_store_32_read_first(Place at) { asm volatile("orl $1, (%0)" ::"r"(at) : "memory"); }
void bad_load_32_fenced(Place at) {
  Load<uint32_t>(at);
  FullBarrier();
}
#endif
}
