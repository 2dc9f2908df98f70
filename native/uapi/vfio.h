#pragma once

#include <cstdint>

#include "layout.h"

// The part of the kernel's include/uapi/linux/vfio.h that the addon uses. Written here because the
// headers that distributions ship may be years older than the kernel that runs.
namespace uapi {

// _IO(';', 100 + n): the number does not embed the struct's size.
inline constexpr unsigned long kVfioDeviceGetInfo = 0x3b6b;
inline constexpr unsigned long kVfioDeviceGetRegionInfo = 0x3b6c;
inline constexpr unsigned long kVfioDeviceGetIrqInfo = 0x3b6d;
inline constexpr unsigned long kVfioDeviceSetIrqs = 0x3b6e;
inline constexpr unsigned long kVfioDeviceBindIommufd = 0x3b76;
inline constexpr unsigned long kVfioDeviceAttachIommufdPt = 0x3b77;
inline constexpr unsigned long kVfioDeviceDetachIommufdPt = 0x3b78;

struct VfioDeviceInfo {
  uint32_t argsz;
  uint32_t flags;
  uint32_t num_regions;
  uint32_t num_irqs;
  uint32_t cap_offset;
  uint32_t pad;
};
UAPI_SIZE(VfioDeviceInfo, 24);
UAPI_FIELD(VfioDeviceInfo, flags, 4);
UAPI_FIELD(VfioDeviceInfo, num_regions, 8);
UAPI_FIELD(VfioDeviceInfo, num_irqs, 12);
UAPI_FIELD(VfioDeviceInfo, cap_offset, 16);

struct VfioRegionInfo {
  uint32_t argsz;
  uint32_t flags;
  uint32_t index;
  uint32_t cap_offset;
  uint64_t size;
  uint64_t offset;
};
UAPI_SIZE(VfioRegionInfo, 32);
UAPI_FIELD(VfioRegionInfo, flags, 4);
UAPI_FIELD(VfioRegionInfo, index, 8);
UAPI_FIELD(VfioRegionInfo, cap_offset, 12);
UAPI_FIELD(VfioRegionInfo, size, 16);
UAPI_FIELD(VfioRegionInfo, offset, 24);

struct VfioIrqInfo {
  uint32_t argsz;
  uint32_t flags;
  uint32_t index;
  uint32_t count;
};
UAPI_SIZE(VfioIrqInfo, 16);
UAPI_FIELD(VfioIrqInfo, flags, 4);
UAPI_FIELD(VfioIrqInfo, index, 8);
UAPI_FIELD(VfioIrqInfo, count, 12);

// Followed by nothing, a byte or an int32_t for each of `count` interrupts, as the flags say.
struct VfioIrqSet {
  uint32_t argsz;
  uint32_t flags;
  uint32_t index;
  uint32_t start;
  uint32_t count;
};
UAPI_SIZE(VfioIrqSet, 20);
UAPI_FIELD(VfioIrqSet, flags, 4);
UAPI_FIELD(VfioIrqSet, index, 8);
UAPI_FIELD(VfioIrqSet, start, 12);
UAPI_FIELD(VfioIrqSet, count, 16);

inline constexpr uint32_t kVfioIrqSetDataNone = 1 << 0;
inline constexpr uint32_t kVfioIrqSetDataBool = 1 << 1;
inline constexpr uint32_t kVfioIrqSetDataEventfd = 1 << 2;
inline constexpr uint32_t kVfioIrqSetActionMask = 1 << 3;
inline constexpr uint32_t kVfioIrqSetActionUnmask = 1 << 4;
inline constexpr uint32_t kVfioIrqSetActionTrigger = 1 << 5;

struct VfioDeviceBindIommufd {
  uint32_t argsz;
  uint32_t flags;
  int32_t iommufd;
  uint32_t out_devid;
  uint64_t token_uuid_ptr;  // since 6.17; before that the kernel ignores bytes past out_devid
};
UAPI_SIZE(VfioDeviceBindIommufd, 24);
UAPI_FIELD(VfioDeviceBindIommufd, flags, 4);
UAPI_FIELD(VfioDeviceBindIommufd, iommufd, 8);
UAPI_FIELD(VfioDeviceBindIommufd, out_devid, 12);
UAPI_FIELD(VfioDeviceBindIommufd, token_uuid_ptr, 16);

struct VfioDeviceAttachIommufdPt {
  uint32_t argsz;
  uint32_t flags;
  uint32_t pt_id;
  uint32_t pasid;  // since 6.15
};
UAPI_SIZE(VfioDeviceAttachIommufdPt, 16);
UAPI_FIELD(VfioDeviceAttachIommufdPt, flags, 4);
UAPI_FIELD(VfioDeviceAttachIommufdPt, pt_id, 8);
UAPI_FIELD(VfioDeviceAttachIommufdPt, pasid, 12);

struct VfioDeviceDetachIommufdPt {
  uint32_t argsz;
  uint32_t flags;
  uint32_t pasid;  // since 6.15
};
UAPI_SIZE(VfioDeviceDetachIommufdPt, 12);
UAPI_FIELD(VfioDeviceDetachIommufdPt, flags, 4);
UAPI_FIELD(VfioDeviceDetachIommufdPt, pasid, 8);

}  // namespace uapi
