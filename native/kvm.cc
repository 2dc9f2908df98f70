#include "kvm.h"

#include <utility>

#include "answers.h"
#include "arguments.h"
#include "export.h"
#include "system_call.h"
#include "uapi/kvm.h"

namespace {

// kvmCreateVfio(vm) -> handle: slow, since it waits for the VM's lock. The kernel makes the
// descriptor close-on-exec. Its open file is one that is known again by a duplicate, because of
// what it holds.
Call CreateVfio(const Napi::CallbackInfo& info) {
  auto vm = LeaseArgument(info, 0);
  if (!vm) return {};
  return [vm = std::move(*vm)]() -> Answer {
    uapi::KvmCreateDevice arg = {};
    arg.type = uapi::kKvmDevTypeVfio;
    const int result = Ioctl(vm.number(), uapi::kKvmCreateDevice, &arg);
    if (result < 0) return result;
    return FdAnswer(static_cast<int>(arg.fd), OpenFile::New());
  };
}

// One of the attributes that name a file by its descriptor.
int SetFile(int kvm, uint64_t attr, int32_t number) {
  uapi::KvmDeviceAttr arg = {};
  arg.group = uapi::kKvmDevVfioFile;
  arg.attr = attr;
  arg.addr = reinterpret_cast<uintptr_t>(&number);
  return Ioctl(kvm, uapi::kKvmSetDeviceAttr, &arg);
}

// kvmVfioAdd(kvm, device or group)
Call Add(const Napi::CallbackInfo& info) {
  auto kvm = LeaseArgument(info, 0);
  auto file = LeaseArgument(info, 1);
  if (!kvm || !file) return {};
  return
      [kvm = std::move(*kvm), file = std::move(*file)]() -> Answer { return AddToKvm(kvm, file); };
}

// kvmVfioRemove(kvm, device or group)
Call Remove(const Napi::CallbackInfo& info) {
  auto kvm = LeaseArgument(info, 0);
  auto file = LeaseArgument(info, 1);
  if (!kvm || !file) return {};
  return [kvm = std::move(*kvm), file = std::move(*file)]() -> Answer {
    if (file.number() < 0) return file.number();
    const int result = SetFile(kvm.number(), uapi::kKvmDevVfioFileDel, file.number());
    if (result >= 0) kvm.file()->LetGo(file.file());
    return result;
  };
}

// kvmVfioHasAdd(descriptor) -> 0 where it is such a device, and takes files
std::optional<Answer> HasAdd(const Napi::CallbackInfo& info) {
  const auto kvm = FdArgument(info, 0);
  if (!kvm) return {};
  uapi::KvmDeviceAttr arg = {};
  arg.group = uapi::kKvmDevVfioFile;
  arg.attr = uapi::kKvmDevVfioFileAdd;
  return Ioctl(*kvm, uapi::kKvmHasDeviceAttr, &arg);
}

}  // namespace

int AddToKvm(const FdLease& kvm, const FdLease& file) {
  if (file.number() < 0) return file.number();
  const int result = SetFile(kvm.number(), uapi::kKvmDevVfioFileAdd, file.number());
  if (result >= 0) kvm.file()->Hold(file.file());
  return result;
}

void ExportKvm(Napi::Env env, Napi::Object exports) {
  ExportSlowCall<CreateVfio>(env, exports, "kvmCreateVfio");
  ExportSlowCall<Add>(env, exports, "kvmVfioAdd");
  ExportSlowCall<Remove>(env, exports, "kvmVfioRemove");
  ExportShortCall<HasAdd>(env, exports, "kvmVfioHasAdd");
}
