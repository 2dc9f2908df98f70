#include "viommu.h"

#include <algorithm>
#include <cstring>

#include "answers.h"
#include "arguments.h"
#include "export.h"
#include "room.h"
#include "system_call.h"
#include "uapi/iommufd.h"

namespace {

// viommuAlloc(iommufd, device id, nesting parent's id, type, data) -> the id's four bytes, and the
// data as the kernel left them
Call ViommuAlloc(const Napi::CallbackInfo& info) {
  const auto iommufd = LeaseArgument(info, 0);
  const auto device = Uint32Argument(info, 1);
  const auto parent = Uint32Argument(info, 2);
  const auto type = Uint32Argument(info, 3);
  const auto data = Uint8ArrayArgument(info, 4, 0);
  if (!iommufd || !device || !parent || !type || !data) return {};
  return [iommufd = *iommufd, device = *device, parent = *parent, type = *type,
          data = Room<uint8_t>(*data)]() -> Answer {
    uapi::IommuViommuAlloc arg = {};
    const Room<uint8_t> told(sizeof(arg.out_viommu_id) + data.size());
    if (!data || !told) return -ENOMEM;
    uint8_t* const room = told.data() + sizeof(arg.out_viommu_id);
    std::copy_n(data.data(), data.size(), room);
    arg.size = sizeof(arg);
    arg.type = type;
    arg.dev_id = device;
    arg.hwpt_id = parent;
    arg.data_len = static_cast<uint32_t>(data.size());
    if (data.size() > 0) arg.data_uptr = reinterpret_cast<uintptr_t>(room);
    const int result = Ioctl(iommufd.number(), uapi::kIommuViommuAlloc, &arg);
    if (result < 0) return result;
    std::memcpy(told.data(), &arg.out_viommu_id, sizeof(arg.out_viommu_id));
    return BytesAnswer(told);
  };
}

// vdeviceAlloc(iommufd, vIOMMU, device id, virtual id) -> id
Call VdeviceAlloc(const Napi::CallbackInfo& info) {
  const auto iommufd = LeaseArgument(info, 0);
  const auto viommu = Uint32Argument(info, 1);
  const auto device = Uint32Argument(info, 2);
  const auto virt = Uint64Argument(info, 3);
  if (!iommufd || !viommu || !device || !virt) return {};
  return [iommufd = *iommufd, viommu = *viommu, device = *device, virt = *virt]() -> Answer {
    uapi::IommuVdeviceAlloc arg = {};
    arg.size = sizeof(arg);
    arg.viommu_id = viommu;
    arg.dev_id = device;
    arg.virt_id = virt;
    const int result = Ioctl(iommufd.number(), uapi::kIommuVdeviceAlloc, &arg);
    return ValueOr(result, arg.out_vdevice_id);
  };
}

// veventqAlloc(iommufd, vIOMMU, type, depth, out [id]) -> handle of the queue's descriptor
std::optional<Answer> VeventqAlloc(const Napi::CallbackInfo& info) {
  const auto iommufd = FdArgument(info, 0);
  const auto viommu = Uint32Argument(info, 1);
  const auto type = Uint32Argument(info, 2);
  const auto depth = Uint32Argument(info, 3);
  const auto out = Uint32ArrayArgument(info, 4, 1);
  if (!iommufd || !viommu || !type || !depth || !out) return {};
  uapi::IommuVeventqAlloc arg = {};
  arg.size = sizeof(arg);
  arg.viommu_id = *viommu;
  arg.type = *type;
  arg.veventq_depth = *depth;
  const int result = Ioctl(*iommufd, uapi::kIommuVeventqAlloc, &arg);
  if (result < 0) return result;
  out->data()[0] = arg.out_veventq_id;
  return FdAnswer(static_cast<int>(arg.out_veventq_fd));
}

// hwQueueAlloc(iommufd, vIOMMU, type, index, address, bytes) -> id: slow, since it pins the queue's
// pages
Call HwQueueAlloc(const Napi::CallbackInfo& info) {
  const auto iommufd = LeaseArgument(info, 0);
  const auto viommu = Uint32Argument(info, 1);
  const auto type = Uint32Argument(info, 2);
  const auto index = Uint32Argument(info, 3);
  const auto iova = Uint64Argument(info, 4);
  const auto length = Uint64Argument(info, 5);
  if (!iommufd || !viommu || !type || !index || !iova || !length) return {};
  return [iommufd = *iommufd, viommu = *viommu, type = *type, index = *index, iova = *iova,
          length = *length]() -> Answer {
    uapi::IommuHwQueueAlloc arg = {};
    arg.size = sizeof(arg);
    arg.viommu_id = viommu;
    arg.type = type;
    arg.index = index;
    arg.nesting_parent_iova = iova;
    arg.length = length;
    const int result = Ioctl(iommufd.number(), uapi::kIommuHwQueueAlloc, &arg);
    return ValueOr(result, arg.out_hw_queue_id);
  };
}

}  // namespace

void ExportViommu(Napi::Env env, Napi::Object exports) {
  ExportSlowCall<ViommuAlloc>(env, exports, "viommuAlloc");
  ExportSlowCall<VdeviceAlloc>(env, exports, "vdeviceAlloc");
  ExportShortCall<VeventqAlloc>(env, exports, "veventqAlloc");
  ExportSlowCall<HwQueueAlloc>(env, exports, "hwQueueAlloc");
}
