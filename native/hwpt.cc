#include "hwpt.h"

#include <algorithm>

#include "answers.h"
#include "arguments.h"
#include "export.h"
#include "room.h"
#include "system_call.h"
#include "uapi/iommufd.h"

namespace {

// hwptAlloc(iommufd, device id, page table id, flags, fault queue id) -> id: slow, since it pins
// and maps all that the address space has
Call HwptAlloc(const Napi::CallbackInfo& info) {
  const auto iommufd = LeaseArgument(info, 0);
  const auto device = Uint32Argument(info, 1);
  const auto parent = Uint32Argument(info, 2);
  const auto flags = Uint32Argument(info, 3);
  const auto fault = Uint32Argument(info, 4);
  if (!iommufd || !device || !parent || !flags || !fault) return {};
  return [iommufd = *iommufd, device = *device, parent = *parent, flags = *flags,
          fault = *fault]() -> Answer {
    uapi::IommuHwptAlloc arg = {};
    arg.size = sizeof(arg);
    arg.flags = flags;
    arg.dev_id = device;
    arg.pt_id = parent;
    arg.fault_id = fault;
    const int result = Ioctl(iommufd.number(), uapi::kIommuHwptAlloc, &arg);
    return ValueOr(result, arg.out_hwpt_id);
  };
}

// getHwInfo(iommufd, device id, out [capabilities, type, log2 of PASIDs], data of the type)
// -> the bytes of that data that the kernel has
std::optional<Answer> GetHwInfo(const Napi::CallbackInfo& info) {
  const auto iommufd = FdArgument(info, 0);
  const auto device = Uint32Argument(info, 1);
  const auto out = BigUint64ArrayArgument(info, 2, 3);
  const auto data = BigUint64ArrayArgument(info, 3, 0);
  if (!iommufd || !device || !out || !data) return {};
  uapi::IommuHwInfo arg = {};
  arg.size = sizeof(arg);
  arg.dev_id = *device;
  arg.data_len = static_cast<uint32_t>(data->size_bytes());
  arg.data_uptr = reinterpret_cast<uintptr_t>(data->data());
  const int result = Ioctl(*iommufd, uapi::kIommuGetHwInfo, &arg);
  out->data()[0] = arg.out_capabilities;
  out->data()[1] = arg.out_data_type;
  out->data()[2] = arg.out_max_pasid_log2;
  return ValueOr(result, arg.data_len);
}

// hwptSetDirtyTracking(iommufd, hwpt, flags): slow, since it walks the page table
Call HwptSetDirtyTracking(const Napi::CallbackInfo& info) {
  const auto iommufd = LeaseArgument(info, 0);
  const auto hwpt = Uint32Argument(info, 1);
  const auto flags = Uint32Argument(info, 2);
  if (!iommufd || !hwpt || !flags) return {};
  return [iommufd = *iommufd, hwpt = *hwpt, flags = *flags]() -> Answer {
    uapi::IommuHwptSetDirtyTracking arg = {};
    arg.size = sizeof(arg);
    arg.flags = flags;
    arg.hwpt_id = hwpt;
    return Ioctl(iommufd.number(), uapi::kIommuHwptSetDirtyTracking, &arg);
  };
}

// 64 GiB of 4 KiB pages: a larger range is asked for in parts.
constexpr uint32_t kMaxBitmapWords = 1 << 18;

// hwptGetDirtyBitmap(iommufd, hwpt, flags, iova, length, page size, words) -> BigUint64Array of so
// many words, a bit for each page
Call HwptGetDirtyBitmap(const Napi::CallbackInfo& info) {
  const auto iommufd = LeaseArgument(info, 0);
  const auto hwpt = Uint32Argument(info, 1);
  const auto flags = Uint32Argument(info, 2);
  const auto iova = Uint64Argument(info, 3);
  const auto length = Uint64Argument(info, 4);
  const auto page = Uint64Argument(info, 5);
  const auto words = Uint32Argument(info, 6);
  if (!iommufd || !hwpt || !flags || !iova || !length || !page || !words) return {};
  // The kernel writes a bit for every page, whatever room there is.
  if (*words > kMaxBitmapWords || *page == 0 || *length / *page > uint64_t{*words} * 64) return {};
  return [iommufd = *iommufd, hwpt = *hwpt, flags = *flags, iova = *iova, length = *length,
          page = *page, words = *words]() -> Answer {
    const Room<uint64_t> bitmap(words);
    if (!bitmap) return -ENOMEM;
    uapi::IommuHwptGetDirtyBitmap arg = {};
    arg.size = sizeof(arg);
    arg.hwpt_id = hwpt;
    arg.flags = flags;
    arg.iova = iova;
    arg.length = length;
    arg.page_size = page;
    arg.data = reinterpret_cast<uintptr_t>(bitmap.data());
    const int result = Ioctl(iommufd.number(), uapi::kIommuHwptGetDirtyBitmap, &arg);
    if (result < 0) return result;
    return LongsAnswer(bitmap);
  };
}

// faultQueueAlloc(iommufd, out [id]) -> handle of the queue's descriptor
std::optional<Answer> FaultQueueAlloc(const Napi::CallbackInfo& info) {
  const auto iommufd = FdArgument(info, 0);
  const auto out = Uint32ArrayArgument(info, 1, 1);
  if (!iommufd || !out) return {};
  uapi::IommuFaultAlloc arg = {};
  arg.size = sizeof(arg);
  const int result = Ioctl(*iommufd, uapi::kIommuFaultQueueAlloc, &arg);
  if (result < 0) return result;
  out->data()[0] = arg.out_fault_id;
  return FdAnswer(static_cast<int>(arg.out_fault_fd));
}

}  // namespace

void ExportHwpt(Napi::Env env, Napi::Object exports) {
  ExportSlowCall<HwptAlloc>(env, exports, "hwptAlloc");
  ExportSlowCall<HwptSetDirtyTracking>(env, exports, "hwptSetDirtyTracking");
  ExportSlowCall<HwptGetDirtyBitmap>(env, exports, "hwptGetDirtyBitmap");
  ExportShortCall<GetHwInfo>(env, exports, "getHwInfo");
  ExportShortCall<FaultQueueAlloc>(env, exports, "faultQueueAlloc");
}
