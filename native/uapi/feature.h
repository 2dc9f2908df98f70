#pragma once

#include <cstdint>

#include "layout.h"

// VFIO_DEVICE_FEATURE and its data, of the kernel's include/uapi/linux/vfio.h: the features whose
// data the addon fills in itself.
namespace uapi {

inline constexpr unsigned long kVfioDeviceFeature = 0x3b75;
inline constexpr unsigned long kVfioMigGetPrecopyInfo = 0x3b79;

struct VfioDeviceFeature {
  uint32_t argsz;
  uint32_t flags;
};
UAPI_SIZE(VfioDeviceFeature, 8);
UAPI_FIELD(VfioDeviceFeature, flags, 4);

inline constexpr uint32_t kVfioDeviceFeatureGet = 1 << 16;
inline constexpr uint32_t kVfioDeviceFeatureSet = 1 << 17;

inline constexpr uint32_t kVfioDeviceFeatureMigDeviceState = 2;
inline constexpr uint32_t kVfioDeviceFeatureLowPowerEntryWithWakeup = 4;
inline constexpr uint32_t kVfioDeviceFeatureDmaLoggingStart = 6;
inline constexpr uint32_t kVfioDeviceFeatureDmaLoggingReport = 8;
inline constexpr uint32_t kVfioDeviceFeatureDmaBuf = 11;     // since 6.19
inline constexpr uint32_t kVfioDeviceFeatureZpciError = 13;  // since 7.3

struct VfioDeviceFeatureMigState {
  uint32_t device_state;
  int32_t data_fd;
};
UAPI_SIZE(VfioDeviceFeatureMigState, 8);
UAPI_FIELD(VfioDeviceFeatureMigState, data_fd, 4);

struct VfioPrecopyInfo {
  uint32_t argsz;
  uint32_t flags;
  uint64_t initial_bytes;
  uint64_t dirty_bytes;
};
UAPI_SIZE(VfioPrecopyInfo, 24);
UAPI_FIELD(VfioPrecopyInfo, flags, 4);
UAPI_FIELD(VfioPrecopyInfo, initial_bytes, 8);
UAPI_FIELD(VfioPrecopyInfo, dirty_bytes, 16);

struct VfioDeviceLowPowerEntryWithWakeup {
  int32_t wakeup_eventfd;
  uint32_t reserved;
};
UAPI_SIZE(VfioDeviceLowPowerEntryWithWakeup, 8);
UAPI_FIELD(VfioDeviceLowPowerEntryWithWakeup, reserved, 4);

struct VfioDeviceFeatureDmaLoggingControl {
  uint64_t page_size;
  uint32_t num_ranges;
  uint32_t __reserved;
  uint64_t ranges;
};
UAPI_SIZE(VfioDeviceFeatureDmaLoggingControl, 24);
UAPI_FIELD(VfioDeviceFeatureDmaLoggingControl, num_ranges, 8);
UAPI_FIELD(VfioDeviceFeatureDmaLoggingControl, __reserved, 12);
UAPI_FIELD(VfioDeviceFeatureDmaLoggingControl, ranges, 16);

struct VfioDeviceFeatureDmaLoggingRange {
  uint64_t iova;
  uint64_t length;
};
UAPI_SIZE(VfioDeviceFeatureDmaLoggingRange, 16);
UAPI_FIELD(VfioDeviceFeatureDmaLoggingRange, length, 8);

struct VfioDeviceFeatureDmaLoggingReport {
  uint64_t iova;
  uint64_t length;
  uint64_t page_size;
  uint64_t bitmap;
};
UAPI_SIZE(VfioDeviceFeatureDmaLoggingReport, 32);
UAPI_FIELD(VfioDeviceFeatureDmaLoggingReport, length, 8);
UAPI_FIELD(VfioDeviceFeatureDmaLoggingReport, page_size, 16);
UAPI_FIELD(VfioDeviceFeatureDmaLoggingReport, bitmap, 24);

// Followed by nr_ranges pairs of an offset in the region and a length.
struct VfioDeviceFeatureDmaBuf {
  uint32_t region_index;  // since 6.19
  uint32_t open_flags;    // since 6.19
  uint32_t flags;         // since 6.19
  uint32_t nr_ranges;     // since 6.19
};
UAPI_SIZE(VfioDeviceFeatureDmaBuf, 16);
UAPI_FIELD(VfioDeviceFeatureDmaBuf, open_flags, 4);
UAPI_FIELD(VfioDeviceFeatureDmaBuf, flags, 8);
UAPI_FIELD(VfioDeviceFeatureDmaBuf, nr_ranges, 12);

struct VfioDeviceFeatureZpciErr {
  uint64_t data;  // since 7.3
};
UAPI_SIZE(VfioDeviceFeatureZpciErr, 8);

}  // namespace uapi
