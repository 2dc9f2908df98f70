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
inline constexpr unsigned long kVfioDeviceReset = 0x3b6f;
inline constexpr unsigned long kVfioDeviceGetPciHotResetInfo = 0x3b70;
inline constexpr unsigned long kVfioDevicePciHotReset = 0x3b71;
inline constexpr unsigned long kVfioDeviceQueryGfxPlane = 0x3b72;
inline constexpr unsigned long kVfioDeviceGetGfxDmabuf = 0x3b73;
inline constexpr unsigned long kVfioDeviceIoeventfd = 0x3b74;
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

struct VfioPciDependentDevice {
  uint32_t devid;
  uint16_t segment;
  uint8_t bus;
  uint8_t devfn;
};
UAPI_SIZE(VfioPciDependentDevice, 8);
UAPI_FIELD(VfioPciDependentDevice, segment, 4);
UAPI_FIELD(VfioPciDependentDevice, bus, 6);
UAPI_FIELD(VfioPciDependentDevice, devfn, 7);

// Followed by a VfioPciDependentDevice for each of `count`.
struct VfioPciHotResetInfo {
  uint32_t argsz;
  uint32_t flags;
  uint32_t count;
};
UAPI_SIZE(VfioPciHotResetInfo, 12);
UAPI_FIELD(VfioPciHotResetInfo, flags, 4);
UAPI_FIELD(VfioPciHotResetInfo, count, 8);

struct VfioPciHotReset {
  uint32_t argsz;
  uint32_t flags;
  uint32_t count;
};
UAPI_SIZE(VfioPciHotReset, 12);
UAPI_FIELD(VfioPciHotReset, flags, 4);
UAPI_FIELD(VfioPciHotReset, count, 8);

struct VfioDeviceGfxPlaneInfo {
  uint32_t argsz;
  uint32_t flags;
  uint32_t drm_plane_type;
  uint32_t drm_format;
  uint64_t drm_format_mod;
  uint32_t width;
  uint32_t height;
  uint32_t stride;
  uint32_t size;
  uint32_t x_pos;
  uint32_t y_pos;
  uint32_t x_hot;
  uint32_t y_hot;
  uint32_t region_index;  // or dmabuf_id
  uint32_t reserved;
};
UAPI_SIZE(VfioDeviceGfxPlaneInfo, 64);
UAPI_FIELD(VfioDeviceGfxPlaneInfo, drm_plane_type, 8);
UAPI_FIELD(VfioDeviceGfxPlaneInfo, drm_format_mod, 16);
UAPI_FIELD(VfioDeviceGfxPlaneInfo, region_index, 56);

struct VfioDeviceIoeventfd {
  uint32_t argsz;
  uint32_t flags;
  uint64_t offset;
  uint64_t data;
  int32_t fd;
  uint32_t reserved;
};
UAPI_SIZE(VfioDeviceIoeventfd, 32);
UAPI_FIELD(VfioDeviceIoeventfd, offset, 8);
UAPI_FIELD(VfioDeviceIoeventfd, data, 16);
UAPI_FIELD(VfioDeviceIoeventfd, fd, 24);

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

inline constexpr uint32_t kVfioDeviceBindFlagToken = 1 << 0;  // since 6.17

inline constexpr uint32_t kVfioDeviceAttachPasid = 1;  // since 6.15
inline constexpr uint32_t kVfioDeviceDetachPasid = 1;  // since 6.15

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
