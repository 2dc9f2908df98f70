#include "iommufd.h"

#include "arguments.h"
#include "slow_call.h"
#include "system_call.h"
#include "uapi/iommufd.h"

namespace {

// ioasAlloc(iommufd) -> id
Napi::Value IoasAlloc(const Napi::CallbackInfo& info) {
  const auto iommufd = FdArgument(info, 0);
  if (!iommufd) return info.Env().Undefined();
  uapi::IommuIoasAlloc arg = {};
  arg.size = sizeof(arg);
  const int result = Ioctl(*iommufd, uapi::kIommuIoasAlloc, &arg);
  return Napi::Number::New(info.Env(), static_cast<double>(ValueOr(result, arg.out_ioas_id)));
}

// compatIoas(iommufd) -> id of the address space of groups that have the iommufd as their container
Napi::Value CompatIoas(const Napi::CallbackInfo& info) {
  const auto iommufd = FdArgument(info, 0);
  if (!iommufd) return info.Env().Undefined();
  uapi::IommuVfioIoas arg = {};
  arg.size = sizeof(arg);  // IOMMU_VFIO_IOAS_GET is 0
  const int result = Ioctl(*iommufd, uapi::kIommuVfioIoas, &arg);
  return Napi::Number::New(info.Env(), static_cast<double>(ValueOr(result, arg.ioas_id)));
}

// destroy(iommufd, id): slow, since destroying an IOAS unpins all that is mapped in it
Call Destroy(const Napi::CallbackInfo& info) {
  const auto iommufd = LeaseArgument(info, 0);
  const auto id = Uint32Argument(info, 1);
  if (!iommufd || !id) return {};
  return [iommufd = *iommufd, id = *id]() -> int64_t {
    if (iommufd.number() < 0) return iommufd.number();
    KeptMaps& maps = iommufd.file()->maps;
    const auto within = maps.Within({id, 0, UINT64_MAX});
    uapi::IommuDestroy arg = {};
    arg.size = sizeof(arg);
    arg.id = id;
    const int result = Ioctl(iommufd.number(), uapi::kIommuDestroy, &arg);
    if (result >= 0) maps.Remove(within);
    return result;
  };
}

}  // namespace

void ExportIommufd(Napi::Env env, Napi::Object exports) {
  exports["ioasAlloc"] = Napi::Function::New(env, IoasAlloc, "ioasAlloc");
  exports["compatIoas"] = Napi::Function::New(env, CompatIoas, "compatIoas");
  ExportSlowCall<Destroy, WithoutThread::kBlock>(env, exports, "destroy");
}
