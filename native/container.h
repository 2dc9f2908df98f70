#pragma once

#include <napi.h>

#include <cstdint>

// Unmaps what lies wholly in a range (VFIO_IOMMU_UNMAP_DMA), and tells how many bytes: 0 or -errno.
int UnmapContainer(int container, uint32_t flags, uint64_t iova, uint64_t length, uint64_t* bytes);

// Whether no group is in it, so that it has no IOMMU, and nothing mapped.
bool IsContainerEmpty(int container);

// The ioctls of a container, /dev/vfio/vfio.
void ExportContainer(Napi::Env env, Napi::Object exports);
