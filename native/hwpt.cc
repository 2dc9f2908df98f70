#include "hwpt.h"

#include <algorithm>

#include "answers.h"
#include "arguments.h"
#include "export.h"
#include "room.h"
#include "system_call.h"
#include "uapi/iommufd.h"

namespace {

// hwptAlloc(iommufd, device id, id of what it is made of, flags, fault queue id, type of the data,
// data) -> id: slow, since it pins and maps all that the address space has
Call HwptAlloc(const Napi::CallbackInfo& info) {
  const auto iommufd = LeaseArgument(info, 0);
  const auto device = Uint32Argument(info, 1);
  const auto parent = Uint32Argument(info, 2);
  const auto flags = Uint32Argument(info, 3);
  const auto fault = Uint32Argument(info, 4);
  const auto type = Uint32Argument(info, 5);
  const auto data = Uint8ArrayArgument(info, 6, 0);
  if (!iommufd || !device || !parent || !flags || !fault || !type || !data) return {};
  return [iommufd = *iommufd, device = *device, parent = *parent, flags = *flags, fault = *fault,
          type = *type, data = Room<uint8_t>(*data)]() -> Answer {
    if (!data) return -ENOMEM;
    uapi::IommuHwptAlloc arg = {};
    arg.size = sizeof(arg);
    arg.flags = flags;
    arg.dev_id = device;
    arg.pt_id = parent;
    arg.fault_id = fault;
    arg.data_type = type;
    arg.data_len = static_cast<uint32_t>(data.size());
    if (data.size() > 0) arg.data_uptr = reinterpret_cast<uintptr_t>(data.data());
    const int result = Ioctl(iommufd.number(), uapi::kIommuHwptAlloc, &arg);
    return ValueOr(result, arg.out_hwpt_id);
  };
}

// hwptInvalidate(iommufd, id of a nested page table or vIOMMU, type of the data, bytes of an entry,
// entries) -> [errno or 0, how many entries the kernel handled]: slow, since the hardware is waited
// for
Call HwptInvalidate(const Napi::CallbackInfo& info) {
  const auto iommufd = LeaseArgument(info, 0);
  const auto hwpt = Uint32Argument(info, 1);
  const auto type = Uint32Argument(info, 2);
  const auto length = Uint32Argument(info, 3);
  const auto entries = Uint8ArrayArgument(info, 4, 0);
  if (!iommufd || !hwpt || !type || !length || !entries) return {};
  if (*length == 0 || entries->size() % *length != 0) return {};
  return [iommufd = *iommufd, hwpt = *hwpt, type = *type, length = *length,
          entries = Room<uint8_t>(*entries)]() -> Answer {
    const Room<uint32_t> told(2);
    if (!entries || !told) return -ENOMEM;
    uapi::IommuHwptInvalidate arg = {};
    arg.size = sizeof(arg);
    arg.hwpt_id = hwpt;
    arg.data_uptr = reinterpret_cast<uintptr_t>(entries.data());
    arg.data_type = type;
    arg.entry_len = length;
    arg.entry_num = static_cast<uint32_t>(entries.size() / length);
    const uint32_t asked = arg.entry_num;
    const int result = Ioctl(iommufd.number(), uapi::kIommuHwptInvalidate, &arg);
    told.data()[0] = result < 0 ? static_cast<uint32_t>(-result) : 0;
    // Where the request is refused as a whole, as by a kernel that does not know it, the number is
    // the one that was given.
    told.data()[1] = result < 0 && arg.entry_num == asked ? 0 : arg.entry_num;
    return WordsAnswer(told);
  };
}

// getHwInfo(iommufd, device id, type or undefined for the IOMMU's own, out [capabilities, type,
// log2 of PASIDs], data of the type) -> the bytes of that data that the kernel has
std::optional<Answer> GetHwInfo(const Napi::CallbackInfo& info) {
  const auto iommufd = FdArgument(info, 0);
  const auto device = Uint32Argument(info, 1);
  const auto type = Uint32Argument(info, 2);
  const auto out = BigUint64ArrayArgument(info, 3, 3);
  const auto data = BigUint64ArrayArgument(info, 4, 0);
  if (!iommufd || !device || !out || !data || (!type && !info[2].IsUndefined())) return {};
  uapi::IommuHwInfo arg = {};
  arg.size = sizeof(arg);
  arg.dev_id = *device;
  arg.data_len = static_cast<uint32_t>(data->size_bytes());
  arg.data_uptr = reinterpret_cast<uintptr_t>(data->data());
  arg.flags = type ? uapi::kIommuHwInfoFlagInputType : 0;
  arg.out_data_type = type.value_or(0);  // the same field as in_data_type
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
  ExportSlowCall<HwptInvalidate>(env, exports, "hwptInvalidate");
  ExportSlowCall<HwptSetDirtyTracking>(env, exports, "hwptSetDirtyTracking");
  ExportSlowCall<HwptGetDirtyBitmap>(env, exports, "hwptGetDirtyBitmap");
  ExportShortCall<GetHwInfo>(env, exports, "getHwInfo");
  ExportShortCall<FaultQueueAlloc>(env, exports, "faultQueueAlloc");
}
