#pragma once

#include <napi.h>

#include <cstdint>

#include "kept_maps.h"

// Unmaps what lies wholly in a range (IOMMU_IOAS_UNMAP), and tells how many bytes: 0 or -errno.
int UnmapIoas(int iommufd, const MapExtent& range, uint64_t* bytes);

// The ioctls of a /dev/iommu fd that concern an address space, and its options.
void ExportIoas(Napi::Env env, Napi::Object exports);
