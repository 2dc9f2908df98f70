#include "iommufd.h"

#include "answers.h"
#include "arguments.h"
#include "export.h"
#include "system_call.h"
#include "uapi/iommufd.h"

namespace {

// ioasAlloc(iommufd) -> id
std::optional<Answer> IoasAlloc(const Napi::CallbackInfo& info) {
  const auto iommufd = FdArgument(info, 0);
  if (!iommufd) return {};
  uapi::IommuIoasAlloc arg = {};
  arg.size = sizeof(arg);
  const int result = Ioctl(*iommufd, uapi::kIommuIoasAlloc, &arg);
  return ValueOr(result, arg.out_ioas_id);
}

// compatIoas(iommufd, IOMMU_VFIO_IOAS_*, id to set) -> id of the address space of groups that have
// the iommufd as their container
std::optional<Answer> CompatIoas(const Napi::CallbackInfo& info) {
  const auto iommufd = FdArgument(info, 0);
  const auto op = Uint32Argument(info, 1);
  const auto id = Uint32Argument(info, 2);
  if (!iommufd || !op || *op > UINT16_MAX || !id) return {};
  uapi::IommuVfioIoas arg = {};
  arg.size = sizeof(arg);
  arg.op = static_cast<uint16_t>(*op);
  arg.ioas_id = *id;
  const int result = Ioctl(*iommufd, uapi::kIommuVfioIoas, &arg);
  return ValueOr(result, arg.ioas_id);
}

// destroy(iommufd, id): slow, since destroying an IOAS unpins all that is mapped in it
Call Destroy(const Napi::CallbackInfo& info) {
  const auto iommufd = LeaseArgument(info, 0);
  const auto id = Uint32Argument(info, 1);
  if (!iommufd || !id) return {};
  return [iommufd = *iommufd, id = *id]() -> Answer {
    if (iommufd.number() < 0) return iommufd.number();
    KeptMaps& maps = iommufd.file()->maps;
    const KeptMaps::Moment before = maps.now();
    uapi::IommuDestroy arg = {};
    arg.size = sizeof(arg);
    arg.id = id;
    const int result = Ioctl(iommufd.number(), uapi::kIommuDestroy, &arg);
    if (result >= 0) maps.RemoveWithin({id, 0, UINT64_MAX}, before);
    return result;
  };
}

}  // namespace

void ExportIommufd(Napi::Env env, Napi::Object exports) {
  ExportShortCall<IoasAlloc>(env, exports, "ioasAlloc");
  ExportShortCall<CompatIoas>(env, exports, "compatIoas");
  ExportSlowCall<Destroy, WithoutThread::kBlock>(env, exports, "destroy");
}
