#pragma once

#include <cstdint>

#include "layout.h"

// The part of the kernel's include/uapi/linux/iommufd.h that the addon uses.
namespace uapi {

inline constexpr unsigned long kIommuDestroy = 0x3b80;
inline constexpr unsigned long kIommuIoasAlloc = 0x3b81;
inline constexpr unsigned long kIommuIoasAllowIovas = 0x3b82;
inline constexpr unsigned long kIommuIoasCopy = 0x3b83;
inline constexpr unsigned long kIommuIoasIovaRanges = 0x3b84;
inline constexpr unsigned long kIommuIoasMap = 0x3b85;
inline constexpr unsigned long kIommuIoasUnmap = 0x3b86;
inline constexpr unsigned long kIommuOption = 0x3b87;
inline constexpr unsigned long kIommuVfioIoas = 0x3b88;
inline constexpr unsigned long kIommuHwptAlloc = 0x3b89;
inline constexpr unsigned long kIommuGetHwInfo = 0x3b8a;
inline constexpr unsigned long kIommuHwptSetDirtyTracking = 0x3b8b;
inline constexpr unsigned long kIommuHwptGetDirtyBitmap = 0x3b8c;
inline constexpr unsigned long kIommuHwptInvalidate = 0x3b8d;
inline constexpr unsigned long kIommuFaultQueueAlloc = 0x3b8e;
inline constexpr unsigned long kIommuIoasMapFile = 0x3b8f;        // since 6.13
inline constexpr unsigned long kIommuViommuAlloc = 0x3b90;        // since 6.13
inline constexpr unsigned long kIommuVdeviceAlloc = 0x3b91;       // since 6.13
inline constexpr unsigned long kIommuIoasChangeProcess = 0x3b92;  // since 6.14
inline constexpr unsigned long kIommuVeventqAlloc = 0x3b93;       // since 6.15
inline constexpr unsigned long kIommuHwQueueAlloc = 0x3b94;       // since 6.17
inline constexpr unsigned long kIommuIoasNoiommuGetPa = 0x3b95;   // since 7.3

struct IommuDestroy {
  uint32_t size;
  uint32_t id;
};
UAPI_SIZE(IommuDestroy, 8);
UAPI_FIELD(IommuDestroy, id, 4);

struct IommuIoasAlloc {
  uint32_t size;
  uint32_t flags;
  uint32_t out_ioas_id;
};
UAPI_SIZE(IommuIoasAlloc, 12);
UAPI_FIELD(IommuIoasAlloc, flags, 4);
UAPI_FIELD(IommuIoasAlloc, out_ioas_id, 8);

struct IommuIovaRange {
  uint64_t start;
  uint64_t last;
};
UAPI_SIZE(IommuIovaRange, 16);
UAPI_FIELD(IommuIovaRange, last, 8);

struct IommuIoasIovaRanges {
  uint32_t size;
  uint32_t ioas_id;
  uint32_t num_iovas;
  uint32_t __reserved;
  uint64_t allowed_iovas;
  uint64_t out_iova_alignment;
};
UAPI_SIZE(IommuIoasIovaRanges, 32);
UAPI_FIELD(IommuIoasIovaRanges, ioas_id, 4);
UAPI_FIELD(IommuIoasIovaRanges, num_iovas, 8);
UAPI_FIELD(IommuIoasIovaRanges, allowed_iovas, 16);
UAPI_FIELD(IommuIoasIovaRanges, out_iova_alignment, 24);

struct IommuIoasAllowIovas {
  uint32_t size;
  uint32_t ioas_id;
  uint32_t num_iovas;
  uint32_t __reserved;
  uint64_t allowed_iovas;
};
UAPI_SIZE(IommuIoasAllowIovas, 24);
UAPI_FIELD(IommuIoasAllowIovas, ioas_id, 4);
UAPI_FIELD(IommuIoasAllowIovas, num_iovas, 8);
UAPI_FIELD(IommuIoasAllowIovas, allowed_iovas, 16);

struct IommuIoasMap {
  uint32_t size;
  uint32_t flags;
  uint32_t ioas_id;
  uint32_t __reserved;
  uint64_t user_va;
  uint64_t length;
  uint64_t iova;
};
UAPI_SIZE(IommuIoasMap, 40);
UAPI_FIELD(IommuIoasMap, flags, 4);
UAPI_FIELD(IommuIoasMap, ioas_id, 8);
UAPI_FIELD(IommuIoasMap, user_va, 16);
UAPI_FIELD(IommuIoasMap, length, 24);
UAPI_FIELD(IommuIoasMap, iova, 32);

struct IommuIoasMapFile {
  uint32_t size;     // since 6.13
  uint32_t flags;    // since 6.13
  uint32_t ioas_id;  // since 6.13
  int32_t fd;        // since 6.13
  uint64_t start;    // since 6.13
  uint64_t length;   // since 6.13
  uint64_t iova;     // since 6.13
};
UAPI_SIZE(IommuIoasMapFile, 40);
UAPI_FIELD(IommuIoasMapFile, flags, 4);
UAPI_FIELD(IommuIoasMapFile, ioas_id, 8);
UAPI_FIELD(IommuIoasMapFile, fd, 12);
UAPI_FIELD(IommuIoasMapFile, start, 16);
UAPI_FIELD(IommuIoasMapFile, length, 24);
UAPI_FIELD(IommuIoasMapFile, iova, 32);

struct IommuIoasCopy {
  uint32_t size;
  uint32_t flags;
  uint32_t dst_ioas_id;
  uint32_t src_ioas_id;
  uint64_t length;
  uint64_t dst_iova;
  uint64_t src_iova;
};
UAPI_SIZE(IommuIoasCopy, 40);
UAPI_FIELD(IommuIoasCopy, flags, 4);
UAPI_FIELD(IommuIoasCopy, dst_ioas_id, 8);
UAPI_FIELD(IommuIoasCopy, src_ioas_id, 12);
UAPI_FIELD(IommuIoasCopy, length, 16);
UAPI_FIELD(IommuIoasCopy, dst_iova, 24);
UAPI_FIELD(IommuIoasCopy, src_iova, 32);

struct IommuIoasUnmap {
  uint32_t size;
  uint32_t ioas_id;
  uint64_t iova;
  uint64_t length;
};
UAPI_SIZE(IommuIoasUnmap, 24);
UAPI_FIELD(IommuIoasUnmap, ioas_id, 4);
UAPI_FIELD(IommuIoasUnmap, iova, 8);
UAPI_FIELD(IommuIoasUnmap, length, 16);

struct IommuIoasChangeProcess {
  uint32_t size;        // since 6.14
  uint32_t __reserved;  // since 6.14
};
UAPI_SIZE(IommuIoasChangeProcess, 8);

struct IommuOption {
  uint32_t size;
  uint32_t option_id;
  uint16_t op;
  uint16_t __reserved;
  uint32_t object_id;
  uint64_t val64;
};
UAPI_SIZE(IommuOption, 24);
UAPI_FIELD(IommuOption, option_id, 4);
UAPI_FIELD(IommuOption, op, 8);
UAPI_FIELD(IommuOption, object_id, 12);
UAPI_FIELD(IommuOption, val64, 16);

struct IommuHwptAlloc {
  uint32_t size;
  uint32_t flags;
  uint32_t dev_id;
  uint32_t pt_id;
  uint32_t out_hwpt_id;
  uint32_t __reserved;
  uint32_t data_type;
  uint32_t data_len;
  uint64_t data_uptr;
  uint32_t fault_id;
  uint32_t __reserved2;
};
UAPI_SIZE(IommuHwptAlloc, 48);
UAPI_FIELD(IommuHwptAlloc, flags, 4);
UAPI_FIELD(IommuHwptAlloc, dev_id, 8);
UAPI_FIELD(IommuHwptAlloc, pt_id, 12);
UAPI_FIELD(IommuHwptAlloc, out_hwpt_id, 16);
UAPI_FIELD(IommuHwptAlloc, data_type, 24);
UAPI_FIELD(IommuHwptAlloc, data_len, 28);
UAPI_FIELD(IommuHwptAlloc, data_uptr, 32);
UAPI_FIELD(IommuHwptAlloc, fault_id, 40);

inline constexpr uint32_t kIommuHwInfoFlagInputType = 1;  // since 6.17

struct IommuHwInfo {
  uint32_t size;
  uint32_t flags;
  uint32_t dev_id;
  uint32_t data_len;
  uint64_t data_uptr;
  uint32_t out_data_type;
  uint8_t out_max_pasid_log2;
  uint8_t __reserved[3];
  uint64_t out_capabilities;
};
UAPI_SIZE(IommuHwInfo, 40);
UAPI_FIELD(IommuHwInfo, flags, 4);
UAPI_FIELD(IommuHwInfo, dev_id, 8);
UAPI_FIELD(IommuHwInfo, data_len, 12);
UAPI_FIELD(IommuHwInfo, data_uptr, 16);
UAPI_FIELD(IommuHwInfo, out_data_type, 24);
UAPI_FIELD(IommuHwInfo, out_max_pasid_log2, 28);
UAPI_FIELD(IommuHwInfo, out_capabilities, 32);

struct IommuHwptSetDirtyTracking {
  uint32_t size;
  uint32_t flags;
  uint32_t hwpt_id;
  uint32_t __reserved;
};
UAPI_SIZE(IommuHwptSetDirtyTracking, 16);
UAPI_FIELD(IommuHwptSetDirtyTracking, flags, 4);
UAPI_FIELD(IommuHwptSetDirtyTracking, hwpt_id, 8);

struct IommuHwptGetDirtyBitmap {
  uint32_t size;
  uint32_t hwpt_id;
  uint32_t flags;
  uint32_t __reserved;
  uint64_t iova;
  uint64_t length;
  uint64_t page_size;
  uint64_t data;
};
UAPI_SIZE(IommuHwptGetDirtyBitmap, 48);
UAPI_FIELD(IommuHwptGetDirtyBitmap, hwpt_id, 4);
UAPI_FIELD(IommuHwptGetDirtyBitmap, flags, 8);
UAPI_FIELD(IommuHwptGetDirtyBitmap, iova, 16);
UAPI_FIELD(IommuHwptGetDirtyBitmap, length, 24);
UAPI_FIELD(IommuHwptGetDirtyBitmap, page_size, 32);
UAPI_FIELD(IommuHwptGetDirtyBitmap, data, 40);

struct IommuFaultAlloc {
  uint32_t size;
  uint32_t flags;
  uint32_t out_fault_id;
  uint32_t out_fault_fd;
};
UAPI_SIZE(IommuFaultAlloc, 16);
UAPI_FIELD(IommuFaultAlloc, flags, 4);
UAPI_FIELD(IommuFaultAlloc, out_fault_id, 8);
UAPI_FIELD(IommuFaultAlloc, out_fault_fd, 12);

struct IommuHwptInvalidate {
  uint32_t size;
  uint32_t hwpt_id;
  uint64_t data_uptr;
  uint32_t data_type;
  uint32_t entry_len;
  uint32_t entry_num;
  uint32_t __reserved;
};
UAPI_SIZE(IommuHwptInvalidate, 32);
UAPI_FIELD(IommuHwptInvalidate, hwpt_id, 4);
UAPI_FIELD(IommuHwptInvalidate, data_uptr, 8);
UAPI_FIELD(IommuHwptInvalidate, data_type, 16);
UAPI_FIELD(IommuHwptInvalidate, entry_len, 20);
UAPI_FIELD(IommuHwptInvalidate, entry_num, 24);

struct IommuViommuAlloc {
  uint32_t size;           // since 6.13
  uint32_t flags;          // since 6.13
  uint32_t type;           // since 6.13
  uint32_t dev_id;         // since 6.13
  uint32_t hwpt_id;        // since 6.13
  uint32_t out_viommu_id;  // since 6.13
  uint32_t data_len;       // since 6.17
  uint32_t __reserved;     // since 6.17
  uint64_t data_uptr;      // since 6.17
};
UAPI_SIZE(IommuViommuAlloc, 40);
UAPI_FIELD(IommuViommuAlloc, type, 8);
UAPI_FIELD(IommuViommuAlloc, dev_id, 12);
UAPI_FIELD(IommuViommuAlloc, hwpt_id, 16);
UAPI_FIELD(IommuViommuAlloc, out_viommu_id, 20);
UAPI_FIELD(IommuViommuAlloc, data_len, 24);
UAPI_FIELD(IommuViommuAlloc, data_uptr, 32);

struct IommuVdeviceAlloc {
  uint32_t size;            // since 6.13
  uint32_t viommu_id;       // since 6.13
  uint32_t dev_id;          // since 6.13
  uint32_t out_vdevice_id;  // since 6.13
  uint64_t virt_id;         // since 6.13
};
UAPI_SIZE(IommuVdeviceAlloc, 24);
UAPI_FIELD(IommuVdeviceAlloc, viommu_id, 4);
UAPI_FIELD(IommuVdeviceAlloc, dev_id, 8);
UAPI_FIELD(IommuVdeviceAlloc, out_vdevice_id, 12);
UAPI_FIELD(IommuVdeviceAlloc, virt_id, 16);

struct IommuVeventqAlloc {
  uint32_t size;            // since 6.15
  uint32_t flags;           // since 6.15
  uint32_t viommu_id;       // since 6.15
  uint32_t type;            // since 6.15
  uint32_t veventq_depth;   // since 6.15
  uint32_t out_veventq_id;  // since 6.15
  uint32_t out_veventq_fd;  // since 6.15
  uint32_t __reserved;      // since 6.15
};
UAPI_SIZE(IommuVeventqAlloc, 32);
UAPI_FIELD(IommuVeventqAlloc, viommu_id, 8);
UAPI_FIELD(IommuVeventqAlloc, type, 12);
UAPI_FIELD(IommuVeventqAlloc, veventq_depth, 16);
UAPI_FIELD(IommuVeventqAlloc, out_veventq_id, 20);
UAPI_FIELD(IommuVeventqAlloc, out_veventq_fd, 24);

struct IommuHwQueueAlloc {
  uint32_t size;                 // since 6.17
  uint32_t flags;                // since 6.17
  uint32_t viommu_id;            // since 6.17
  uint32_t type;                 // since 6.17
  uint32_t index;                // since 6.17
  uint32_t out_hw_queue_id;      // since 6.17
  uint64_t nesting_parent_iova;  // since 6.17
  uint64_t length;               // since 6.17
};
UAPI_SIZE(IommuHwQueueAlloc, 40);
UAPI_FIELD(IommuHwQueueAlloc, viommu_id, 8);
UAPI_FIELD(IommuHwQueueAlloc, type, 12);
UAPI_FIELD(IommuHwQueueAlloc, index, 16);
UAPI_FIELD(IommuHwQueueAlloc, out_hw_queue_id, 20);
UAPI_FIELD(IommuHwQueueAlloc, nesting_parent_iova, 24);
UAPI_FIELD(IommuHwQueueAlloc, length, 32);

// The address space that groups use whose container the iommufd is.
struct IommuVfioIoas {
  uint32_t size;
  uint32_t ioas_id;
  uint16_t op;
  uint16_t __reserved;
};
UAPI_SIZE(IommuVfioIoas, 12);
UAPI_FIELD(IommuVfioIoas, ioas_id, 4);
UAPI_FIELD(IommuVfioIoas, op, 8);

struct IommuIoasNoiommuGetPa {
  uint32_t size;        // since 7.3
  uint32_t flags;       // since 7.3
  uint32_t ioas_id;     // since 7.3
  uint32_t __reserved;  // since 7.3
  uint64_t iova;        // since 7.3
  uint64_t length;      // since 7.3
  uint64_t out_phys;    // since 7.3
};
UAPI_SIZE(IommuIoasNoiommuGetPa, 40);
UAPI_FIELD(IommuIoasNoiommuGetPa, ioas_id, 8);
UAPI_FIELD(IommuIoasNoiommuGetPa, iova, 16);
UAPI_FIELD(IommuIoasNoiommuGetPa, length, 24);
UAPI_FIELD(IommuIoasNoiommuGetPa, out_phys, 32);

}  // namespace uapi
