#pragma once

#include <napi.h>

#include <cstdint>
#include <memory>

#include "kept_maps.h"
#include "memory.h"

class Fd;

// Where a map goes.
struct MapPlace {
  uint32_t ioas;
  uint32_t flags;
  uint64_t length;
  uint64_t iova;  // afterwards, where the kernel made it
};

uint64_t AddressOf(const void* pointer);

// The bodies of the calls that map and unmap, on whatever thread, of an iommufd that nobody closes
// meanwhile: 0 or -errno.

// IOMMU_IOAS_MAP. Keeps the memory, where it is ours, until the map is gone.
int MapAddress(const Fd& iommufd, MapPlace* place, uint64_t address,
               std::shared_ptr<Memory> memory);
// IOMMU_IOAS_MAP_FILE
int MapFile(const Fd& iommufd, MapPlace* place, int fd, uint64_t offset);
// Unmaps what lies wholly in a range (IOMMU_IOAS_UNMAP), and tells how many bytes.
int UnmapRange(const Fd& iommufd, const MapExtent& range, uint64_t* bytes);
// The same without a look at what is kept.
int UnmapIoas(int iommufd, const MapExtent& range, uint64_t* bytes);

// The ioctls of a /dev/iommu fd that concern an address space, and its options.
void ExportIoas(Napi::Env env, Napi::Object exports);
