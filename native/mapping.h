#pragma once

#include <napi.h>
#include <uv.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>

// A part of a region, mapped. It is unmapped once: by its owner, or when nobody has it any more.
class Mapping {
 public:
  // Bytes from `start` to `end`, within the mapping.
  struct Range {
    uint64_t start;
    uint64_t end;
  };

  // Takes over `total` mapped bytes at `pages`, of which those from `skip` on are the mapping.
  Mapping(void* pages, size_t total, size_t skip, Range read_only);
  ~Mapping();
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  // Waits until every lease is given back, then unmaps, unless the memory is exposed. Where that
  // fails it can be tried again.
  int Unmap();

  // From now on the memory stays until the Mapping is gone: JavaScript has it as an ArrayBuffer.
  void Expose() { exposed_ = true; }

  volatile std::byte* at(uint64_t offset) const { return start_ + offset; }
  uint64_t size() const { return size_; }
  bool Holds(uint64_t offset, uint64_t length) const {
    return length <= size_ && offset <= size_ - length;
  }
  bool IsWritable(uint64_t offset, uint64_t length) const {
    return offset >= read_only_.end || offset + length <= read_only_.start;
  }
  Range read_only() const { return read_only_; }
  // For who holds a lease: to be given back at once.
  bool is_closing() const { return closing_.load(std::memory_order_relaxed); }

 private:
  friend class MappingLease;
  bool Acquire();
  void Release();

  volatile std::byte* start_;
  uint64_t size_;
  Range read_only_;
  void* pages_;  // null when unmapped
  size_t total_;
  bool exposed_ = false;
  std::atomic<bool> closing_ = false;
  uv_mutex_t mutex_;
  uv_cond_t idle_;
  int leases_ = 0;
};

// Keeps a Mapping mapped for as long as it, or a copy of it, lives: for accesses on another thread.
class MappingLease {
 public:
  explicit MappingLease(std::shared_ptr<Mapping> mapping);
  MappingLease(const MappingLease& other);
  MappingLease(MappingLease&& other) noexcept = default;
  MappingLease& operator=(const MappingLease&) = delete;
  MappingLease& operator=(MappingLease&&) = delete;
  ~MappingLease();

  // Null when the mapping was closing already.
  const Mapping* mapping() const { return mapping_.get(); }

 private:
  std::shared_ptr<Mapping> mapping_;
};

// The mappings of one environment, by handles that are not used again, like those of the FdTable.
class MappingTable {
 public:
  uint32_t Add(std::shared_ptr<Mapping> mapping);
  // For an access that ends before the JavaScript thread can unmap.
  const Mapping* Find(uint64_t handle);
  std::shared_ptr<Mapping> Share(uint32_t handle) const;
  // Forgets the handle.
  std::shared_ptr<Mapping> Take(uint32_t handle);
  // Has `Take` find one again that was not unmapped, and nobody else.
  void KeepForTake(uint32_t handle, std::shared_ptr<Mapping> mapping);

 private:
  std::unordered_map<uint32_t, std::shared_ptr<Mapping>> mappings_;
  std::unordered_map<uint32_t, std::shared_ptr<Mapping>> not_unmapped_;
  uint32_t last_ = 0;
  // Accesses come in rows to one mapping: looking it up would be a good part of their time.
  uint64_t recent_handle_ = 0;
  const Mapping* recent_ = nullptr;
};

void ExportMapping(Napi::Env env, Napi::Object exports);
