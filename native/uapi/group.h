#pragma once

#include <cstdint>

#include "layout.h"

// The part of the kernel's include/uapi/linux/vfio.h that is for groups and containers, of which
// the addon's devices know nothing.
namespace uapi {

// Requests of a container. Groups, containers and devices share numbers: the descriptor decides.
inline constexpr unsigned long kVfioGetApiVersion = 0x3b64;
inline constexpr unsigned long kVfioCheckExtension = 0x3b65;
inline constexpr unsigned long kVfioSetIommu = 0x3b66;
// Requests of a group.
inline constexpr unsigned long kVfioGroupGetStatus = 0x3b67;
inline constexpr unsigned long kVfioGroupSetContainer = 0x3b68;
inline constexpr unsigned long kVfioGroupGetDeviceFd = 0x3b6a;
// Requests of a container with an IOMMU.
inline constexpr unsigned long kVfioIommuGetInfo = 0x3b70;
inline constexpr unsigned long kVfioIommuMapDma = 0x3b71;
inline constexpr unsigned long kVfioIommuUnmapDma = 0x3b72;
inline constexpr unsigned long kVfioIommuDirtyPages = 0x3b75;

struct VfioGroupStatus {
  uint32_t argsz;
  uint32_t flags;
};
UAPI_SIZE(VfioGroupStatus, 8);
UAPI_FIELD(VfioGroupStatus, flags, 4);

// Followed by its capabilities.
struct VfioIommuType1Info {
  uint32_t argsz;
  uint32_t flags;
  uint64_t iova_pgsizes;
  uint32_t cap_offset;
  uint32_t pad;
};
UAPI_SIZE(VfioIommuType1Info, 24);
UAPI_FIELD(VfioIommuType1Info, flags, 4);
UAPI_FIELD(VfioIommuType1Info, iova_pgsizes, 8);
UAPI_FIELD(VfioIommuType1Info, cap_offset, 16);

struct VfioIommuType1DmaMap {
  uint32_t argsz;
  uint32_t flags;
  uint64_t vaddr;
  uint64_t iova;
  uint64_t size;
};
UAPI_SIZE(VfioIommuType1DmaMap, 32);
UAPI_FIELD(VfioIommuType1DmaMap, flags, 4);
UAPI_FIELD(VfioIommuType1DmaMap, vaddr, 8);
UAPI_FIELD(VfioIommuType1DmaMap, iova, 16);
UAPI_FIELD(VfioIommuType1DmaMap, size, 24);

inline constexpr uint32_t kVfioDmaUnmapFlagGetDirtyBitmap = 1;
inline constexpr uint32_t kVfioDmaUnmapFlagAll = 2;

struct VfioIommuType1DmaUnmap {
  uint32_t argsz;
  uint32_t flags;
  uint64_t iova;
  uint64_t size;
};
UAPI_SIZE(VfioIommuType1DmaUnmap, 24);
UAPI_FIELD(VfioIommuType1DmaUnmap, flags, 4);
UAPI_FIELD(VfioIommuType1DmaUnmap, iova, 8);
UAPI_FIELD(VfioIommuType1DmaUnmap, size, 16);

// A bit for each page. The kernel declares `data` as a pointer.
struct VfioBitmap {
  uint64_t pgsize;
  uint64_t size;
  uint64_t data;
};
UAPI_SIZE(VfioBitmap, 24);
UAPI_FIELD(VfioBitmap, size, 8);
UAPI_FIELD(VfioBitmap, data, 16);

inline constexpr uint32_t kVfioIommuDirtyPagesFlagStart = 1;
inline constexpr uint32_t kVfioIommuDirtyPagesFlagStop = 2;
inline constexpr uint32_t kVfioIommuDirtyPagesFlagGetBitmap = 4;

// Followed by what the flag asks for.
struct VfioIommuType1DirtyBitmap {
  uint32_t argsz;
  uint32_t flags;
};
UAPI_SIZE(VfioIommuType1DirtyBitmap, 8);
UAPI_FIELD(VfioIommuType1DirtyBitmap, flags, 4);

struct VfioIommuType1DirtyBitmapGet {
  uint64_t iova;
  uint64_t size;
  VfioBitmap bitmap;
};
UAPI_SIZE(VfioIommuType1DirtyBitmapGet, 40);
UAPI_FIELD(VfioIommuType1DirtyBitmapGet, size, 8);
UAPI_FIELD(VfioIommuType1DirtyBitmapGet, bitmap, 16);

}  // namespace uapi
