#pragma once

#include <cstdint>

#include "layout.h"

// The part of the kernel's include/uapi/linux/kvm.h that a VM's VFIO device needs.
namespace uapi {

// A request of a VM, then two of a device that it made.
inline constexpr unsigned long kKvmCreateDevice = 0xc00caee0;
inline constexpr unsigned long kKvmSetDeviceAttr = 0x4018aee1;
inline constexpr unsigned long kKvmHasDeviceAttr = 0x4018aee3;

inline constexpr uint32_t kKvmDevTypeVfio = 4;

// Its one group of attributes, which older headers call KVM_DEV_VFIO_GROUP, and two of those.
inline constexpr uint32_t kKvmDevVfioFile = 1;
inline constexpr uint64_t kKvmDevVfioFileAdd = 1;
inline constexpr uint64_t kKvmDevVfioFileDel = 2;

struct KvmCreateDevice {
  uint32_t type;
  uint32_t fd;
  uint32_t flags;
};
UAPI_SIZE(KvmCreateDevice, 12);
UAPI_FIELD(KvmCreateDevice, fd, 4);
UAPI_FIELD(KvmCreateDevice, flags, 8);

struct KvmDeviceAttr {
  uint32_t flags;
  uint32_t group;
  uint64_t attr;
  uint64_t addr;
};
UAPI_SIZE(KvmDeviceAttr, 24);
UAPI_FIELD(KvmDeviceAttr, group, 4);
UAPI_FIELD(KvmDeviceAttr, attr, 8);
UAPI_FIELD(KvmDeviceAttr, addr, 16);

}  // namespace uapi
