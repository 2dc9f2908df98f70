#include "irq_owners.h"

#include <sys/eventfd.h>

#include <cerrno>
#include <utility>
#include <vector>

#include "addon.h"
#include "arguments.h"
#include "export.h"

namespace {

// Those of all devices.
struct Known {
  std::mutex mutex;
  std::unordered_map<std::string, std::weak_ptr<IrqOwners>> owners;
};

// Never destroyed: when the process ends, threads may still be at work.
Known& TheKnown() {
  static auto* known = new Known;
  return *known;
}

}  // namespace

std::shared_ptr<IrqOwners> IrqOwners::Of(const std::string& device) {
  Known& known = TheKnown();
  const std::lock_guard lock(known.mutex);
  std::erase_if(known.owners, [](const auto& each) { return each.second.expired(); });
  std::shared_ptr<IrqOwners> owners = known.owners[device].lock();
  if (!owners) {
    owners = std::make_shared<IrqOwners>();
    known.owners[device] = owners;
  }
  return owners;
}

void IrqOwners::Join(const Fd* fd, std::shared_ptr<Fd> told) {
  const std::lock_guard lock(mutex_);
  members_[fd] = std::move(told);
}

void IrqOwners::Leave(const Fd* fd, const std::function<void(uint32_t index)>& disable) {
  notices_->Leave(fd);
  const std::lock_guard calls(calls_);
  std::vector<uint32_t> enabled;
  {
    const std::lock_guard lock(mutex_);
    members_.erase(fd);
    for (const auto& [index, claimed] : claims_) {
      if (claimed.fd == fd && claimed.enabled && !members_.empty()) enabled.push_back(index);
    }
  }
  for (const uint32_t index : enabled) disable(index);
  const std::lock_guard lock(mutex_);
  std::erase_if(claims_, [fd](const auto& claim) { return claim.second.fd == fd; });
}

bool IrqOwners::Claim(const Fd* fd, uint32_t index) {
  const std::lock_guard lock(mutex_);
  return claims_.try_emplace(index, Claimed{fd, false}).first->second.fd == fd;
}

void IrqOwners::Unclaim(const Fd* fd, uint32_t index) {
  const std::lock_guard lock(mutex_);
  const Claimed* claimed = Find(index);
  if (claimed != nullptr && claimed->fd == fd) claims_.erase(index);
}

IrqOwners::Owner IrqOwners::OwnerOf(const Fd* fd, uint32_t index) {
  const std::lock_guard lock(mutex_);
  const Claimed* claimed = Find(index);
  if (claimed == nullptr) return kNobody;
  if (claimed->fd == fd) return kSelf;
  return claimed->enabled ? kAnother : kNobody;
}

int IrqOwners::Change(const Fd* fd, uint32_t index, const KernelCall& call) {
  const std::lock_guard calls(calls_);
  if (OwnerOf(fd, index) != kSelf) return -ECANCELED;
  const int result = call();
  const std::lock_guard lock(mutex_);
  Claimed* claimed = Find(index);
  if (result == 0 && claimed != nullptr) claimed->enabled = true;
  return result;
}

int IrqOwners::Release(const Fd* fd, uint32_t index, const KernelCall& call) {
  const std::lock_guard calls(calls_);
  std::shared_ptr<Fd> told;
  bool enabled = false;
  {
    const std::lock_guard lock(mutex_);
    const Claimed* claimed = Find(index);
    if (claimed == nullptr) return 0;
    enabled = claimed->enabled;
    if (claimed->fd != fd) told = members_[claimed->fd];
  }
  const int result = enabled ? call() : 0;
  // -EINVAL: the kernel has it off, as where enabling it again after a reset failed.
  if (result < 0 && result != -EINVAL) return result;
  {
    const std::lock_guard lock(mutex_);
    claims_.erase(index);
  }
  if (told) {
    // Its owner may close it at any moment, which waits for the lease.
    const FdLease lease(std::move(told));
    eventfd_write(lease.number(), 1);
  }
  return 0;
}

IrqOwners::Claimed* IrqOwners::Find(uint32_t index) {
  const auto found = claims_.find(index);
  return found == claims_.end() ? nullptr : &found->second;
}

namespace {

struct Asked {
  std::shared_ptr<Fd> fd;
  uint32_t index;
};

// (device, index), of a device that has joined
std::optional<Asked> AskedOf(const Napi::CallbackInfo& info) {
  std::shared_ptr<Fd> fd = NamedArgument(info, 0, AddonOf(info.Env()).fds);
  const auto index = Uint32Argument(info, 1);
  if (!fd || !index || !fd->irq_owners()) return std::nullopt;
  return Asked{std::move(fd), *index};
}

// irqsJoin(device, name, eventfd or 0): `name` is the same for all descriptors of one device.
// Again: another eventfd.
std::optional<Answer> IrqsJoin(const Napi::CallbackInfo& info) {
  const HandleTable<Fd>& fds = AddonOf(info.Env()).fds;
  const std::shared_ptr<Fd> fd = NamedArgument(info, 0, fds);
  const auto name = StringArgument(info, 1);
  const auto told_handle = Uint32Argument(info, 2);
  std::shared_ptr<Fd> told = NamedArgument(info, 2, fds);
  if (!fd || !name || !told_handle || (*told_handle != 0 && !told)) return {};
  if (!fd->irq_owners()) fd->SetIrqOwners(IrqOwners::Of(*name));
  fd->irq_owners()->Join(fd.get(), std::move(told));
  return 0;
}

// irqsClaim(device, index) -> 1, or 0 where another descriptor of the device has it
std::optional<Answer> IrqsClaim(const Napi::CallbackInfo& info) {
  const auto asked = AskedOf(info);
  if (!asked) return {};
  return asked->fd->irq_owners()->Claim(asked->fd.get(), asked->index);
}

// irqsUnclaim(device, index): of one that is not enabled
std::optional<Answer> IrqsUnclaim(const Napi::CallbackInfo& info) {
  const auto asked = AskedOf(info);
  if (!asked) return {};
  asked->fd->irq_owners()->Unclaim(asked->fd.get(), asked->index);
  return 0;
}

// irqsOwner(device, index) -> an Owner
std::optional<Answer> IrqsOwner(const Napi::CallbackInfo& info) {
  const auto asked = AskedOf(info);
  if (!asked) return {};
  return asked->fd->irq_owners()->OwnerOf(asked->fd.get(), asked->index);
}

}  // namespace

void ExportIrqOwners(Napi::Env env, Napi::Object exports) {
  ExportShortCall<IrqsJoin>(env, exports, "irqsJoin");
  ExportShortCall<IrqsClaim>(env, exports, "irqsClaim");
  ExportShortCall<IrqsUnclaim>(env, exports, "irqsUnclaim");
  ExportShortCall<IrqsOwner>(env, exports, "irqsOwner");
}
