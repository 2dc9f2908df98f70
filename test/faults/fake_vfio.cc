// Preloaded behind nth_call.c where there is no kernel with VFIO: answers the requests of VFIO and
// of iommufd on any descriptor, as a kernel that lets all be done answers them of a PCI device. The
// nodes are /dev/zero then, whose memory can be mapped as a BAR's.
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "../../native/uapi/group.h"
#include "../../native/uapi/iommufd.h"
#include "../../native/uapi/vfio.h"

namespace {

// Of a PCI device: VFIO_PCI_NUM_REGIONS, VFIO_PCI_CONFIG_REGION_INDEX and so on.
constexpr uint32_t kRegions = 9;
constexpr uint32_t kBar0 = 0;
constexpr uint32_t kConfig = 7;
constexpr uint32_t kIrqs = 5;
constexpr uint32_t kMsix = 2;
constexpr uint32_t kVectors = 4;

constexpr uint64_t kMappedAt = 0x100000;
constexpr uint32_t kId = 3;

int Refuse(int error) {
  errno = error;
  return -1;
}

// The eventfds of each interrupt, 0 for none.
int32_t tied[kIrqs][kVectors];

int SetIrqs(const uapi::VfioIrqSet& set) {
  if (set.index >= kIrqs || set.start + set.count > kVectors) return Refuse(EINVAL);
  if ((set.flags & uapi::kVfioIrqSetActionTrigger) == 0) return 0;
  const auto* data = reinterpret_cast<const char*>(&set + 1);
  if (set.count == 0) memset(tied[set.index], 0, sizeof(tied[0]));
  for (uint32_t at = 0; at < set.count; at++) {
    int32_t* fd = &tied[set.index][set.start + at];
    const uint64_t one = 1;
    if ((set.flags & uapi::kVfioIrqSetDataEventfd) != 0) {
      memcpy(fd, data + at * sizeof(*fd), sizeof(*fd));
    } else if (*fd > 0 && syscall(SYS_write, *fd, &one, sizeof(one)) < 0) {
      return -1;
    }
  }
  return 0;
}

// VFIO_REGION_INFO_FLAG_READ, _WRITE, _MMAP
int RegionInfo(uapi::VfioRegionInfo& info) {
  info.argsz = sizeof(info);
  info.flags = info.index == kBar0 ? 7 : 3;
  info.cap_offset = 0;
  info.size = info.index == kBar0 ? 0x10000 : 0;
  if (info.index == kConfig) info.size = 256;
  info.offset = uint64_t{info.index} << 40;
  return 0;
}

// VFIO_IRQ_INFO_EVENTFD, _NORESIZE
int IrqInfo(uapi::VfioIrqInfo& info) {
  info.flags = 1 | 8;
  info.count = info.index == kMsix ? kVectors : 1;
  return 0;
}

// VFIO_DEVICE_FLAGS_RESET, _PCI
int DeviceInfo(uapi::VfioDeviceInfo& info) {
  info.flags = 1 | 2;
  info.num_regions = kRegions;
  info.num_irqs = kIrqs;
  return 0;
}

int Ranges(uapi::IommuIoasIovaRanges& ranges) {
  const uapi::IommuIovaRange all = {0, (uint64_t{1} << 48) - 1};
  if (ranges.num_iovas > 0)
    memcpy(reinterpret_cast<void*>(ranges.allowed_iovas), &all, sizeof(all));
  ranges.num_iovas = 1;
  ranges.out_iova_alignment = 4096;
  return 0;
}

// A kernel before 6.13 maps by address alone.
int MapFile(uapi::IommuIoasMapFile& map) {
  if (getenv("VFIO_FAKE_BY_ADDRESS") != nullptr) return Refuse(ENOTTY);
  if (map.size < sizeof(map)) return Refuse(EINVAL);
  map.iova = kMappedAt;
  return 0;
}

template <typename T>
T& As(void* argument) {
  return *static_cast<T*>(argument);
}

int OfDevice(unsigned long request, void* argument) {
  switch (request) {
    case uapi::kVfioDeviceGetInfo:
      return DeviceInfo(As<uapi::VfioDeviceInfo>(argument));
    case uapi::kVfioDeviceGetRegionInfo:
      return RegionInfo(As<uapi::VfioRegionInfo>(argument));
    case uapi::kVfioDeviceGetIrqInfo:
      return IrqInfo(As<uapi::VfioIrqInfo>(argument));
    case uapi::kVfioDeviceSetIrqs:
      return SetIrqs(As<uapi::VfioIrqSet>(argument));
    case uapi::kVfioDeviceBindIommufd:
      As<uapi::VfioDeviceBindIommufd>(argument).out_devid = 7;
      return 0;
    case uapi::kVfioDeviceAttachIommufdPt:
    case uapi::kVfioDeviceDetachIommufdPt:
    case uapi::kVfioDeviceReset:
      return 0;
    default:
      return Refuse(ENOTTY);
  }
}

int OfGroup(unsigned long request, void* argument) {
  switch (request) {
    case uapi::kVfioCheckExtension:
      return 1;
    case uapi::kVfioGetApiVersion:
    case uapi::kVfioSetIommu:
    case uapi::kVfioGroupSetContainer:
    case uapi::kVfioIommuMapDma:
    case uapi::kVfioIommuUnmapDma:
      return 0;
    case uapi::kVfioGroupGetStatus:
      As<uapi::VfioGroupStatus>(argument).flags = 1;  // VFIO_GROUP_FLAGS_VIABLE
      return 0;
    case uapi::kVfioGroupGetDeviceFd:
      return static_cast<int>(syscall(SYS_openat, AT_FDCWD, "/dev/zero", O_RDWR | O_CLOEXEC));
    case uapi::kVfioIommuGetInfo:
      As<uapi::VfioIommuType1Info>(argument).flags = 1;  // VFIO_IOMMU_INFO_PGSIZES
      As<uapi::VfioIommuType1Info>(argument).iova_pgsizes = 4096;
      return 0;
    default:
      return OfDevice(request, argument);
  }
}

int OfIommufd(unsigned long request, void* argument) {
  switch (request) {
    case uapi::kIommuDestroy:
    case uapi::kIommuOption:
    case uapi::kIommuIoasUnmap:
      return 0;
    case uapi::kIommuIoasAlloc:
      As<uapi::IommuIoasAlloc>(argument).out_ioas_id = kId;
      return 0;
    case uapi::kIommuVfioIoas:
      As<uapi::IommuVfioIoas>(argument).ioas_id = kId;
      return 0;
    case uapi::kIommuIoasIovaRanges:
      return Ranges(As<uapi::IommuIoasIovaRanges>(argument));
    case uapi::kIommuIoasMap:
      As<uapi::IommuIoasMap>(argument).iova = kMappedAt;
      return 0;
    case uapi::kIommuIoasMapFile:
      return MapFile(As<uapi::IommuIoasMapFile>(argument));
    default:
      return Refuse(ENOTTY);
  }
}

}  // namespace

extern "C" int ioctl(int fd, unsigned long request, ...) {
  va_list arguments;
  va_start(arguments, request);
  void* argument = va_arg(arguments, void*);
  va_end(arguments);
  // Requests of VFIO, and then of iommufd; all else is asked of the kernel.
  if (request >= 0x3b64 && request < 0x3b80) return OfGroup(request, argument);
  if (request >= 0x3b80 && request < 0x3c00) return OfIommufd(request, argument);
  return static_cast<int>(syscall(SYS_ioctl, fd, request, argument));
}
