#pragma once

#include <napi.h>

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

// One access of device memory: one instruction of exactly the width of T, which the compiler
// neither leaves out nor joins with others nor moves past another access of device memory.

static_assert(sizeof(void*) == 8, "an access of 64 bits must be one instruction");

// Regions are little-endian.
template <typename T>
T LittleEndian(T value) {
  if constexpr (std::endian::native == std::endian::little || sizeof(T) == 1) return value;
  if constexpr (sizeof(T) == 2) return __builtin_bswap16(value);
  if constexpr (sizeof(T) == 4) return __builtin_bswap32(value);
  if constexpr (sizeof(T) == 8) return __builtin_bswap64(value);
}

// What the device's memory is ordered against by whom: stores to memory that the device reads by
// DMA come before a write that tells it so; loads of memory that it wrote come after a read that
// said so. x86 keeps both orders by itself for memory and uncached device memory, the compiler does
// not.
inline void PublishStores() {
#if defined(__x86_64__)
  std::atomic_signal_fence(std::memory_order_seq_cst);
#elif defined(__aarch64__)
  asm volatile("dmb oshst" ::: "memory");
#else
  std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
}

inline void OrderLoads() {
#if defined(__x86_64__)
  std::atomic_signal_fence(std::memory_order_seq_cst);
#elif defined(__aarch64__)
  asm volatile("dmb oshld" ::: "memory");
#else
  std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
}

// Everything before comes before everything after.
inline void FullBarrier() {
#if defined(__x86_64__)
  asm volatile("mfence" ::: "memory");
#elif defined(__aarch64__)
  asm volatile("dmb osh" ::: "memory");
#else
  std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
}

// The access itself is written in assembly: a compiler may make one that also moves the address on
// (arm64: `ldr w0, [x1], #4`) or that transfers two registers, which a hypervisor cannot emulate
// for the device of its guest. test/package/accesses.test.ts reads what was compiled.
template <typename T>
T LoadOnce(const volatile std::byte* address) {
  const auto* place = reinterpret_cast<const volatile T*>(address);
#if defined(__x86_64__)
  T value;
  asm volatile("mov %1, %0" : "=r"(value) : "m"(*place) : "memory");
  return value;
#elif defined(__aarch64__)
  T value;
  if constexpr (sizeof(T) == 1)
    asm volatile("ldrb %w0, [%1]" : "=r"(value) : "r"(place) : "memory");
  if constexpr (sizeof(T) == 2)
    asm volatile("ldrh %w0, [%1]" : "=r"(value) : "r"(place) : "memory");
  if constexpr (sizeof(T) == 4) asm volatile("ldr %w0, [%1]" : "=r"(value) : "r"(place) : "memory");
  if constexpr (sizeof(T) == 8) asm volatile("ldr %x0, [%1]" : "=r"(value) : "r"(place) : "memory");
  return value;
#else
  return *place;
#endif
}

template <typename T>
void StoreOnce(volatile std::byte* address, T value) {
  auto* place = reinterpret_cast<volatile T*>(address);
#if defined(__x86_64__)
  asm volatile("mov %1, %0" : "=m"(*place) : "r"(value) : "memory");
#elif defined(__aarch64__)
  if constexpr (sizeof(T) == 1) asm volatile("strb %w0, [%1]" ::"r"(value), "r"(place) : "memory");
  if constexpr (sizeof(T) == 2) asm volatile("strh %w0, [%1]" ::"r"(value), "r"(place) : "memory");
  if constexpr (sizeof(T) == 4) asm volatile("str %w0, [%1]" ::"r"(value), "r"(place) : "memory");
  if constexpr (sizeof(T) == 8) asm volatile("str %x0, [%1]" ::"r"(value), "r"(place) : "memory");
#else
  *place = value;
#endif
}

template <typename T>
T Load(const volatile std::byte* address) {
  const T value = LoadOnce<T>(address);
  OrderLoads();
  return LittleEndian(value);
}

template <typename T>
void Store(volatile std::byte* address, T value) {
  PublishStores();
  StoreOnce<T>(address, LittleEndian(value));
}

// Registers of a short row, which costs less by mail than by arguments.
inline constexpr size_t kMostRows = 16;

// The words of a single access, or of a short row of them, which lib/region/mailbox.ts writes and
// reads.
struct Mailbox {
  double offset;
  uint64_t value;
  uint32_t handle;      // of a mapping, or of a descriptor
  int32_t status;       // one of those below, or -errno
  uint32_t start_high;  // where a region starts in its descriptor
  uint32_t start_low;
  uint32_t rows;
  uint32_t row_offsets[kMostRows];
  uint32_t row_values[kMostRows];
  uint32_t prepared;   // prepared accesses
  uint32_t failed_at;  // which of them faulted
  uint32_t poll;       // of DMA memory
  uint32_t spin;       // microseconds
  uint32_t found;      // how many entries are new
  uint32_t unused;
};
static_assert(offsetof(Mailbox, value) == 8 && offsetof(Mailbox, handle) == 16 &&
              offsetof(Mailbox, status) == 20 && offsetof(Mailbox, start_high) == 24 &&
              offsetof(Mailbox, start_low) == 28 && offsetof(Mailbox, rows) == 32 &&
              offsetof(Mailbox, row_offsets) == 36 && offsetof(Mailbox, row_values) == 100 &&
              offsetof(Mailbox, prepared) == 164 && offsetof(Mailbox, found) == 180);

inline constexpr int32_t kDone = 0;
inline constexpr int32_t kRefused = 1;
// And so many bytes, fewer than the width, were transferred.
inline constexpr int32_t kShort = 2;

// The mailbox's offset, where it is a whole number that JavaScript says exactly.
inline bool OffsetOf(const Mailbox& mailbox, uint64_t* offset) {
  constexpr double kMostSafe = 9007199254740991.0;
  if (!(mailbox.offset >= 0 && mailbox.offset <= kMostSafe)) return false;
  *offset = static_cast<uint64_t>(mailbox.offset);
  return static_cast<double>(*offset) == mailbox.offset;
}

// Exports a function of plain Node-API, whose data is the environment's Addon: for calls so short
// that what the wrappers add, and asking for the Addon, would be a good part of their time.
void ExportPlain(Napi::Env env, Napi::Object exports, const char* name, napi_callback callback);

void ExportMmio(Napi::Env env, Napi::Object exports);
void ExportMmioRows(Napi::Env env, Napi::Object exports);
void ExportMmioPoll(Napi::Env env, Napi::Object exports);
