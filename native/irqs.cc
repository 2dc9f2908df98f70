#include "irqs.h"

#include <cstring>
#include <utility>
#include <vector>

#include "addon.h"
#include "arguments.h"
#include "export.h"
#include "irq_owners.h"
#include "room.h"
#include "system_call.h"
#include "uapi/vfio.h"

namespace {

struct Target {
  std::shared_ptr<Fd> fd;
  FdLease device;
  std::shared_ptr<IrqOwners> owners;  // null where the device has none
  uapi::VfioIrqSet header;
};

// (device, action, index, start, …)
std::optional<Target> TargetArguments(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Fd> fd = NamedArgument(info, 0, AddonOf(info.Env()).fds);
  const auto action = Uint32Argument(info, 1);
  const auto index = Uint32Argument(info, 2);
  const auto start = Uint32Argument(info, 3);
  if (!fd || !action || !index || !start) return std::nullopt;
  const bool known = *action == uapi::kVfioIrqSetActionMask ||
                     *action == uapi::kVfioIrqSetActionUnmask ||
                     *action == uapi::kVfioIrqSetActionTrigger;
  if (!known) return std::nullopt;
  uapi::VfioIrqSet header = {};
  header.flags = *action;
  header.index = *index;
  header.start = *start;
  return Target{fd, FdLease(fd), fd->irq_owners(), header};
}

// 0, -errno, or how many vectors there would be, with none enabled.
int SetIrqsIoctl(const Target& target, std::span<const std::byte> data) {
  const Room<std::byte> arg(sizeof(uapi::VfioIrqSet) + data.size());
  if (!arg) return -ENOMEM;
  uapi::VfioIrqSet header = target.header;
  header.argsz = static_cast<uint32_t>(arg.size());
  std::memcpy(arg.data(), &header, sizeof(header));
  if (!data.empty()) std::memcpy(arg.data() + sizeof(header), data.data(), data.size());
  return Ioctl(target.device.number(), uapi::kVfioDeviceSetIrqs, arg.data());
}

// The same, of a call after which the device signals others than before: only who has claimed the
// interrupt may make it.
int ChangeIrqs(const Target& target, std::span<const std::byte> data) {
  if (!target.owners) return SetIrqsIoctl(target, data);
  const auto call = [&] { return SetIrqsIoctl(target, data); };
  return target.owners->Change(target.fd.get(), target.header.index, call);
}

// setIrqs(device, action, index, start, count): of so many at once
Call SetIrqs(const Napi::CallbackInfo& info) {
  auto target = TargetArguments(info);
  const auto count = Uint32Argument(info, 4);
  if (!target || !count) return {};
  target->header.flags |= uapi::kVfioIrqSetDataNone;
  target->header.count = *count;
  const bool disables =
      target->header.flags == (uapi::kVfioIrqSetDataNone | uapi::kVfioIrqSetActionTrigger) &&
      *count == 0;
  return [target = std::move(*target), disables]() -> Answer {
    return disables ? ChangeIrqs(target, {}) : SetIrqsIoctl(target, {});
  };
}

// irqsRelease(device, index): disables an interrupt, whichever descriptor of the device has it
Call IrqsRelease(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Fd> fd = NamedArgument(info, 0, AddonOf(info.Env()).fds);
  const auto index = Uint32Argument(info, 1);
  if (!fd || !index || !fd->irq_owners()) return {};
  return [fd, device = FdLease(fd), owners = fd->irq_owners(), index = *index]() -> Answer {
    return owners->Release(fd.get(), index, [&] { return DisableIrqs(device.number(), index); });
  };
}

// setIrqsBool(device, action, index, start, bytes): of those whose byte is not 0
Call SetIrqsBool(const Napi::CallbackInfo& info) {
  auto target = TargetArguments(info);
  const auto bools = Uint8ArrayArgument(info, 4, 1);
  if (!target || !bools) return {};
  target->header.flags |= uapi::kVfioIrqSetDataBool;
  target->header.count = static_cast<uint32_t>(bools->size());
  return [target = std::move(*target), bytes = Room<uint8_t>(*bools)]() -> Answer {
    if (!bytes) return -ENOMEM;
    return SetIrqsIoctl(target, std::as_bytes(bytes.span()));
  };
}

// setIrqsEventfd(device, action, index, start, handles): a handle of 0 stands for none
Call SetIrqsEventfd(const Napi::CallbackInfo& info) {
  auto target = TargetArguments(info);
  const auto handles = Uint32ArrayArgument(info, 4, 1);
  if (!target || !handles) return {};
  std::vector<std::optional<FdLease>> leases;
  for (const uint32_t handle : *handles) {
    leases.emplace_back();
    if (handle == 0) continue;
    std::shared_ptr<Fd> fd = AddonOf(info.Env()).fds.Share(handle);
    if (!fd) return {};
    leases.back().emplace(std::move(fd));
  }
  target->header.flags |= uapi::kVfioIrqSetDataEventfd;
  target->header.count = static_cast<uint32_t>(leases.size());
  return [target = std::move(*target), leases = std::move(leases)]() -> Answer {
    std::vector<int32_t> numbers;
    for (const auto& lease : leases) numbers.push_back(lease ? lease->number() : -1);
    const auto data = std::as_bytes(std::span(numbers));
    const bool enables = (target.header.flags & uapi::kVfioIrqSetActionTrigger) != 0;
    return enables ? ChangeIrqs(target, data) : SetIrqsIoctl(target, data);
  };
}

}  // namespace

int DisableIrqs(int device, uint32_t index) {
  uapi::VfioIrqSet all = {};
  all.argsz = sizeof(all);
  all.flags = uapi::kVfioIrqSetDataNone | uapi::kVfioIrqSetActionTrigger;
  all.index = index;
  return Ioctl(device, uapi::kVfioDeviceSetIrqs, &all);
}

void ExportIrqs(Napi::Env env, Napi::Object exports) {
  ExportSlowCall<SetIrqs>(env, exports, "setIrqs");
  ExportSlowCall<SetIrqsBool>(env, exports, "setIrqsBool");
  ExportSlowCall<SetIrqsEventfd>(env, exports, "setIrqsEventfd");
  ExportSlowCall<IrqsRelease>(env, exports, "irqsRelease");
}
