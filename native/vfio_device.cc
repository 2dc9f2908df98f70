#include "vfio_device.h"

#include <cstring>
#include <utility>
#include <vector>

#include "answers.h"
#include "arguments.h"
#include "export.h"
#include "kvm.h"
#include "system_call.h"
#include "uapi/vfio.h"

namespace {

// What is added to KVM's -errno where it is not that of binding.
constexpr int kOfKvm = -8192;

// bind(device, iommufd, token or undefined, a VM's VFIO device or undefined) -> device id in that
// iommufd. KVM is told before, on the same thread; where it refuses, nothing is bound, and the
// answer is kOfKvm - errno.
Call Bind(const Napi::CallbackInfo& info) {
  const auto device = LeaseArgument(info, 0);
  const auto iommufd = LeaseArgument(info, 1);
  const auto token = Uint8ArrayArgument(info, 2, 16);
  const auto kvm = LeaseArgument(info, 3);
  if (!device || !iommufd || (!token && !info[2].IsUndefined())) return {};
  if (!kvm && !info[3].IsUndefined()) return {};
  std::vector<uint8_t> uuid;
  if (token) uuid.assign(token->begin(), token->end());
  return [device = *device, iommufd = *iommufd, kvm, uuid = std::move(uuid)]() -> Answer {
    const int told = kvm ? AddToKvm(*kvm, device) : 0;
    if (told < 0) return kOfKvm + told;
    uapi::VfioDeviceBindIommufd arg = {};
    arg.argsz = sizeof(arg);
    arg.iommufd = iommufd.number();
    if (!uuid.empty()) {
      arg.flags = uapi::kVfioDeviceBindFlagToken;
      arg.token_uuid_ptr = reinterpret_cast<uintptr_t>(uuid.data());
    }
    const int result = Ioctl(device.number(), uapi::kVfioDeviceBindIommufd, &arg);
    if (result >= 0) device.file()->Hold(iommufd.file());
    return ValueOr(result, arg.out_devid);
  };
}

// A PASID, or undefined for the device as a whole; null where it is neither.
std::optional<std::optional<uint32_t>> PasidArgument(const Napi::CallbackInfo& info, size_t index) {
  if (info[index].IsUndefined()) return std::optional<uint32_t>();
  const auto pasid = Uint32Argument(info, index);
  if (!pasid) return std::nullopt;
  return pasid;
}

// attach(device, page table id, pasid or undefined) -> id of the page table that the kernel put it
// on
Call Attach(const Napi::CallbackInfo& info) {
  const auto device = LeaseArgument(info, 0);
  const auto pt_id = Uint32Argument(info, 1);
  const auto pasid = PasidArgument(info, 2);
  if (!device || !pt_id || !pasid) return {};
  return [device = *device, pt_id = *pt_id, pasid = *pasid]() -> Answer {
    uapi::VfioDeviceAttachIommufdPt arg = {};
    arg.argsz = sizeof(arg);
    arg.flags = pasid ? uapi::kVfioDeviceAttachPasid : 0;
    arg.pt_id = pt_id;
    arg.pasid = pasid.value_or(0);
    const int result = Ioctl(device.number(), uapi::kVfioDeviceAttachIommufdPt, &arg);
    return ValueOr(result, arg.pt_id);
  };
}

// detach(device, pasid or undefined)
Call Detach(const Napi::CallbackInfo& info) {
  const auto device = LeaseArgument(info, 0);
  const auto pasid = PasidArgument(info, 1);
  if (!device || !pasid) return {};
  return [device = *device, pasid = *pasid]() -> Answer {
    uapi::VfioDeviceDetachIommufdPt arg = {};
    arg.argsz = sizeof(arg);
    arg.flags = pasid ? uapi::kVfioDeviceDetachPasid : 0;
    arg.pasid = pasid.value_or(0);
    return Ioctl(device.number(), uapi::kVfioDeviceDetachIommufdPt, &arg);
  };
}

// The three info ioctls share their form: the caller's words are the struct and the room for its
// capabilities, and argsz says how many bytes that is.
template <typename Info>
int GetInfo(int device, unsigned long request, Info header, std::span<uint32_t> room) {
  header.argsz = static_cast<uint32_t>(room.size_bytes());
  std::memcpy(room.data(), &header, sizeof(Info));
  return Ioctl(device, request, room.data());
}

template <typename Info>
constexpr size_t kWords = sizeof(Info) / sizeof(uint32_t);

// (…, bytes, room): so many bytes of the room, which must hold them, and they the struct.
template <typename Info>
std::optional<std::span<uint32_t>> RoomArgument(const Napi::CallbackInfo& info, size_t index) {
  const auto bytes = Uint32Argument(info, index);
  if (!bytes || *bytes < sizeof(Info)) return std::nullopt;
  const size_t words = *bytes / sizeof(uint32_t);
  const auto room = Uint32ArrayArgument(info, index + 1, words);
  if (!room) return std::nullopt;
  return room->first(words);
}

// getDeviceInfo(device, bytes, room)
std::optional<Answer> GetDeviceInfo(const Napi::CallbackInfo& info) {
  const auto device = FdArgument(info, 0);
  const auto room = RoomArgument<uapi::VfioDeviceInfo>(info, 1);
  if (!device || !room) return {};
  const int result = GetInfo(*device, uapi::kVfioDeviceGetInfo, uapi::VfioDeviceInfo{}, *room);
  return result;
}

// (device, index, bytes, room): one index, with its capabilities
template <typename Info, unsigned long request>
std::optional<Answer> GetIndexInfo(const Napi::CallbackInfo& info) {
  const auto device = FdArgument(info, 0);
  const auto index = Uint32Argument(info, 1);
  const auto room = RoomArgument<Info>(info, 2);
  if (!device || !index || !room) return {};
  Info header = {};
  header.index = *index;
  return GetInfo(*device, request, header, *room);
}

// (device, count, results, room): the bare structs of the indexes 0 … count - 1 in one call; each
// result is 0 or -errno
template <typename Info, unsigned long request>
std::optional<Answer> GetIndexInfos(const Napi::CallbackInfo& info) {
  const auto device = FdArgument(info, 0);
  const auto count = Uint32Argument(info, 1);
  if (!device || !count) return {};
  const auto results = Int32ArrayArgument(info, 2, *count);
  const auto room = Uint32ArrayArgument(info, 3, size_t{*count} * kWords<Info>);
  if (!results || !room) return {};
  for (uint32_t index = 0; index < *count; index++) {
    Info header = {};
    header.index = index;
    const auto words = room->subspan(index * kWords<Info>, kWords<Info>);
    results->data()[index] = GetInfo(*device, request, header, words);
  }
  return 0;
}

constexpr auto GetRegionInfo = GetIndexInfo<uapi::VfioRegionInfo, uapi::kVfioDeviceGetRegionInfo>;
constexpr auto GetRegionInfos = GetIndexInfos<uapi::VfioRegionInfo, uapi::kVfioDeviceGetRegionInfo>;
constexpr auto GetIrqInfos = GetIndexInfos<uapi::VfioIrqInfo, uapi::kVfioDeviceGetIrqInfo>;

}  // namespace

void ExportVfioDevice(Napi::Env env, Napi::Object exports) {
  ExportSlowCall<Bind>(env, exports, "bind");
  ExportSlowCall<Attach>(env, exports, "attach");
  ExportSlowCall<Detach>(env, exports, "detach");
  ExportShortCall<GetDeviceInfo>(env, exports, "getDeviceInfo");
  ExportShortCall<GetRegionInfo>(env, exports, "getRegionInfo");
  ExportShortCall<GetRegionInfos>(env, exports, "getRegionInfos");
  ExportShortCall<GetIrqInfos>(env, exports, "getIrqInfos");
}
