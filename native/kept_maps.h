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
  // How many there have been: tells those that were there at some moment from whatever is mapped in
  // their places later.
  using Moment = uint64_t;
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
  int number() const { return number_; }

  // The kernel made a map.
  void Add(const MapExtent& extent, std::shared_ptr<Memory> memory);

  // Asked before the kernel unmaps something, since others may be mapped there as soon as it has.
  Moment now() const { return last_serial_; }
  // The kernel has none of these any more that were there at that moment: those that lie wholly in
  // a range, or the one that fills it.
  void RemoveWithin(const MapExtent& range, Moment moment);
  void RemoveExactly(const MapExtent& extent, Moment moment);
  // Of those that lie wholly in a range.
  uint64_t BytesWithin(const MapExtent& range, Moment moment);

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

  // Those that begin in a range and were there at that moment, under the lock. `visit` may take out
  // what it is given.
  template <typename Visit>
  void VisitThose(const MapExtent& range, Moment moment, const Visit& visit);
  // Takes out those of them for which `is_gone` holds.
  template <typename IsGone>
  void Remove(const MapExtent& range, Moment moment, const IsGone& is_gone);
  // Of a map that is gone.
  void Retire(uint32_t ioas, const Entry& entry) const;

  std::atomic<bool> is_shared_ = false;
  std::mutex mutex_;
  std::map<Key, Entry> maps_;
  std::atomic<Moment> last_serial_ = 0;
  std::atomic<int> number_ = -EBADF;
};
