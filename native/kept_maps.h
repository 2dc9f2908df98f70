#pragma once

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <tuple>
#include <utility>
#include <vector>

#include "memory.h"

// Where something is mapped: an address space of an iommufd, whose ids start at 1, or 0 for that of
// a container.
struct MapExtent {
  uint32_t ioas;
  uint64_t iova;
  uint64_t length;

  bool operator==(const MapExtent&) const = default;
  bool Has(const MapExtent& other) const;
};

// What this process mapped by address in one iommufd or container. The kernel notes the address,
// and pins the pages only while a device needs them: whatever lies there later is what a later
// device reaches. So the pages stay until the map is gone. When nobody in this process can use the
// iommufd or container any more, the maps are undone first, since another process may have it
// still; pages whose map the kernel refuses to undo stay for ever.
class KeptMaps {
 public:
  // One that was there at some moment. No other is ever taken for it, whatever is mapped in its
  // place.
  struct Kept {
    MapExtent extent;
    uint64_t serial;
  };
  // Memory that somebody else owns is mapped and undone too, and not kept.
  using Mapped = std::pair<MapExtent, std::shared_ptr<Memory>>;

  KeptMaps() = default;
  ~KeptMaps();
  KeptMaps(const KeptMaps&) = delete;
  KeptMaps& operator=(const KeptMaps&) = delete;

  // Before the first map: has a descriptor of its own, by which the maps are undone at last. 0 or
  // -errno.
  int Prepare(int number);
  // That descriptor, or -EBADF.
  int number();

  // The kernel made a map.
  void Add(const MapExtent& extent, std::shared_ptr<Memory> memory);

  // Those that lie wholly in a range: asked before the kernel unmaps it, since others may be mapped
  // there as soon as it has.
  std::vector<Kept> Within(const MapExtent& range);
  // The kernel has these no more.
  void Remove(const std::vector<Kept>& gone);

  // Another process may have the iommufd from now on. It can copy maps to where nobody here knows
  // of: the addresses of what has been mapped are never used again.
  void Share() { is_shared_ = true; }

  // What a copy of a range to another place maps there.
  std::vector<Mapped> CopiesOf(const MapExtent& range, uint32_t ioas, uint64_t iova);

  // A container loses its maps with its last group.
  void ForgetWhereEmptied();

  bool empty();

 private:
  // Address space, IOVA, serial.
  using Key = std::tuple<uint32_t, uint64_t, uint64_t>;
  struct Entry {
    uint64_t length;
    std::shared_ptr<Memory> memory;
  };

  // The memory of a map that is gone.
  std::shared_ptr<Memory> Released(uint32_t ioas, Entry& entry) const;

  std::atomic<bool> is_shared_ = false;
  std::mutex mutex_;
  std::map<Key, Entry> maps_;
  uint64_t last_serial_ = 0;
  int number_ = -EBADF;
};

// Those of a snapshot which have exactly this extent.
std::vector<KeptMaps::Kept> Exactly(const MapExtent& extent,
                                    const std::vector<KeptMaps::Kept>& kept);
