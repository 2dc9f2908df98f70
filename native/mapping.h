#pragma once

#include <napi.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "lease.h"
#include "notices.h"

// A part of a region, mapped. It is unmapped once: by its owner, or when nobody has it any more.
class Mapping : public Leased {
 public:
  // Bytes from `start` to `end`, within the mapping.
  struct Range {
    uint64_t start;
    uint64_t end;
  };

  // Takes over `total` mapped bytes at `pages`, of which those from `skip` on are the mapping.
  Mapping(void* pages, size_t total, size_t skip, Range read_only);
  ~Mapping();

  // Waits until every lease is given back, then unmaps, unless the memory is exposed. Where that
  // fails it can be tried again.
  int Unmap();

  // From now on the memory stays until the Mapping is gone: JavaScript has it as an ArrayBuffer.
  void Expose() { exposed_ = true; }

  // What its device tells of itself; null where the device is nobody's that would hear of it.
  Notices* notices() const { return notices_.get(); }
  void SetNotices(std::shared_ptr<Notices> notices) { notices_ = std::move(notices); }

  volatile std::byte* at(uint64_t offset) const { return start_ + offset; }
  uint64_t size() const { return size_; }
  bool Holds(uint64_t offset, uint64_t length) const {
    return length <= size_ && offset <= size_ - length;
  }
  // Whether an access of so many bytes, a power of two, is aligned in the device's memory: where
  // the mapping starts counts as well. Pages start at multiples of every width.
  bool IsAligned(uint64_t offset, uint64_t width) const {
    return (reinterpret_cast<uintptr_t>(start_) + offset) % width == 0;
  }
  bool IsWritable(uint64_t offset, uint64_t length) const {
    return offset >= read_only_.end || offset + length <= read_only_.start;
  }
  Range read_only() const { return read_only_; }

 private:
  volatile std::byte* start_;
  uint64_t size_;
  Range read_only_;
  void* pages_;  // null when unmapped
  size_t total_;
  bool exposed_ = false;
  std::shared_ptr<Notices> notices_;
};

void ExportMapping(Napi::Env env, Napi::Object exports);
