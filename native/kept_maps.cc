#include "hot.h"

#include "kept_maps.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "container.h"
#include "ioas.h"
#include "system_call.h"

namespace {

constexpr uint64_t kLast = std::numeric_limits<uint64_t>::max();

// The last address of a range that may be said to be longer than there are addresses.
uint64_t LastOf(const MapExtent& range) {
  const uint64_t most = kLast - range.iova;
  return range.iova + std::min(range.length - 1, most);
}

// Whether the map is gone. No length can be wrong here: it is one that the kernel mapped.
bool Undo(int number, const MapExtent& extent) {
  uint64_t bytes = 0;
  if (extent.ioas != 0) {
    const int result = UnmapIoas(number, extent, &bytes);
    return result == 0 || result == -ENOENT;
  }
  // EINVAL: the container has no address space any more, or something larger in its place.
  const int result = UnmapContainer(number, 0, extent.iova, extent.length, &bytes);
  return result == 0 || result == -EINVAL;
}

// Pages that a map may still name. Whoever reads this in a leak checker: it is meant.
void KeepForEver(std::shared_ptr<Memory> memory) { new std::shared_ptr<Memory>(std::move(memory)); }

}  // namespace

bool MapExtent::Has(const MapExtent& other) const {
  return ioas == other.ioas && iova <= other.iova && LastOf(other) <= LastOf(*this);
}

KeptMaps::~KeptMaps() {
  for (auto& [key, entry] : maps_) {
    const auto [ioas, iova, serial] = key;
    const bool is_gone = Undo(number_, {ioas, iova, entry.length});
    Retire(ioas, entry);
    if (!is_gone) KeepForEver(std::move(entry.memory));
  }
  if (number_ >= 0) close(number_);
}

int KeptMaps::Prepare(int number) {
  if (number_ >= 0) return 0;
  const std::lock_guard lock(mutex_);
  if (number_ >= 0) return 0;
  const int copy = Duplicate(number);
  if (copy < 0) return copy;
  number_ = copy;
  return 0;
}

void KeptMaps::Add(const MapExtent& extent, std::shared_ptr<Memory> memory) {
  const std::lock_guard lock(mutex_);
  const Key key = {extent.ioas, extent.iova, ++last_serial_};
  maps_.emplace(key, Entry{extent.length, std::move(memory)});
}

template <typename Visit>
void KeptMaps::VisitThose(const MapExtent& range, Moment moment, const Visit& visit) {
  if (range.length == 0) return;
  const std::lock_guard lock(mutex_);
  for (auto at = maps_.lower_bound({range.ioas, range.iova, 0}); at != maps_.end();) {
    const auto [ioas, iova, serial] = at->first;
    if (ioas != range.ioas || iova > LastOf(range)) break;
    const auto visited = at++;
    if (serial <= moment) visit(visited, MapExtent{ioas, iova, visited->second.length});
  }
}

template <typename IsGone>
void KeptMaps::Remove(const MapExtent& range, Moment moment, const IsGone& is_gone) {
  std::map<Key, Entry> gone;  // go after the lock: that may take long
  VisitThose(range, moment, [&](auto at, const MapExtent& extent) {
    if (!is_gone(extent)) return;
    Retire(extent.ioas, at->second);
    gone.insert(maps_.extract(at));
  });
}

void KeptMaps::RemoveWithin(const MapExtent& range, Moment moment) {
  Remove(range, moment, [&](const MapExtent& extent) { return range.Has(extent); });
}

void KeptMaps::RemoveExactly(const MapExtent& extent, Moment moment) {
  Remove(extent, moment, [&](const MapExtent& each) { return each == extent; });
}

uint64_t KeptMaps::BytesWithin(const MapExtent& range, Moment moment) {
  uint64_t bytes = 0;
  VisitThose(range, moment, [&](auto, const MapExtent& extent) {
    if (range.Has(extent)) bytes += extent.length;
  });
  return bytes;
}

std::vector<KeptMaps::Mapped> KeptMaps::CopiesOf(const MapExtent& range, uint32_t ioas,
                                                 uint64_t iova) {
  std::vector<Mapped> copies;
  if (range.length == 0) return copies;
  const std::lock_guard lock(mutex_);
  // From the first of the address space on: one may begin before the range.
  for (auto at = maps_.lower_bound({range.ioas, 0, 0}); at != maps_.end(); ++at) {
    const auto [from_ioas, start, serial] = at->first;
    if (from_ioas != range.ioas || start > LastOf(range)) break;
    const uint64_t last = std::min(LastOf({from_ioas, start, at->second.length}), LastOf(range));
    const uint64_t first = std::max(start, range.iova);
    if (last < first) continue;
    const MapExtent copy = {ioas, iova + (first - range.iova), last - first + 1};
    copies.emplace_back(copy, at->second.memory);
  }
  return copies;
}

void KeptMaps::Retire(uint32_t ioas, const Entry& entry) const {
  // A container has no calls that copy.
  if (is_shared_ && ioas != 0 && entry.memory) entry.memory->RetireAddresses();
}

void KeptMaps::ForgetWhereEmptied() {
  const Moment before = now();
  if (!empty() && IsContainerEmpty(number_)) RemoveWithin({0, 0, kLast}, before);
}

bool KeptMaps::empty() {
  const std::lock_guard lock(mutex_);
  return maps_.empty();
}
