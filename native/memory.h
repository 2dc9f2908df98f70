#pragma once

#include <napi.h>

#include <atomic>
#include <cstdint>
#include <memory>

// Pages that a device may reach: a file, mapped shared. Unmapped when the last who needs them lets
// go: the table, a call in flight, an ArrayBuffer that shows them. So no view of JavaScript's, in
// whichever order things are collected, ever points to what is gone.
class Memory {
 public:
  // Takes over the descriptor and the mapping.
  Memory(int fd, void* data, size_t size) : fd_(fd), data_(data), size_(size) {}
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  int fd() const { return fd_; }
  char* data() const { return static_cast<char*>(data_); }
  size_t size() const { return size_; }
  // Whether these bytes are within the memory.
  bool Has(uint64_t offset, uint64_t length) const {
    return offset <= size_ && length <= size_ - offset;
  }

  // Has nothing else ever come to lie at its addresses: another process may have a map that names
  // them. The pages go as always.
  void RetireAddresses() { retires_addresses_ = true; }

 private:
  const int fd_;
  void* const data_;
  const size_t size_;
  std::atomic<bool> retires_addresses_ = false;
};

// The memory that a handle names; null when refused.
std::shared_ptr<Memory> MemoryArgument(const Napi::CallbackInfo& info, size_t index);

void ExportMemory(Napi::Env env, Napi::Object exports);
