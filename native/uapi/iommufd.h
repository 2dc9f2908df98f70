#pragma once

#include <cstdint>

#include "layout.h"

// The part of the kernel's include/uapi/linux/iommufd.h that the addon uses.
namespace uapi {

inline constexpr unsigned long kIommuDestroy = 0x3b80;
inline constexpr unsigned long kIommuIoasAlloc = 0x3b81;

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

}  // namespace uapi
