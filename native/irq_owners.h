#pragma once

#include <napi.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "fd.h"
#include "notices.h"

// Who of this process has enabled which interrupts of one device. The kernel gives them to whoever
// asks last, and tells nobody: so all descriptors that this process has of a device share one of
// these, in whatever thread they are. What a descriptor enabled is disabled when it is closed.
class IrqOwners {
 public:
  // Who has an interrupt: nobody; the descriptor that asks; another one, which has enabled it.
  enum Owner { kNobody = 0, kSelf = 1, kAnother = 2 };
  using KernelCall = std::function<int()>;

  // The one of that device for the whole process.
  static std::shared_ptr<IrqOwners> Of(const std::string& device);

  // What the device tells of itself, also by interrupts.
  const std::shared_ptr<Notices>& notices() const { return notices_; }

  // A descriptor of the device is there. `told` is an eventfd that is signalled when another takes
  // an interrupt away from it; null for none.
  void Join(const Fd* fd, std::shared_ptr<Fd> told);
  // It is being closed: `disable` is called for each interrupt that it enabled, where others have
  // the device, for whom they would stay enabled.
  void Leave(const Fd* fd, const std::function<void(uint32_t index)>& disable);

  // False where another has it already.
  bool Claim(const Fd* fd, uint32_t index);
  // Gives back what was claimed and is not enabled.
  void Unclaim(const Fd* fd, uint32_t index);
  Owner OwnerOf(const Fd* fd, uint32_t index);

  // Makes a call that enables or changes what the descriptor has; -ECANCELED where it has it no
  // more.
  int Change(const Fd* fd, uint32_t index, const KernelCall& call);
  // Makes a call that disables it, whoever has it, and tells them. 0 where nobody has.
  int Release(const Fd* fd, uint32_t index, const KernelCall& call);

 private:
  struct Claimed {
    const Fd* fd;
    bool enabled;
  };
  Claimed* Find(uint32_t index);

  const std::shared_ptr<Notices> notices_ = std::make_shared<Notices>();
  // Taken for the time of a system call, and before the other.
  std::mutex calls_;
  std::mutex mutex_;
  // Under mutex_:
  std::unordered_map<uint32_t, Claimed> claims_;
  std::unordered_map<const Fd*, std::shared_ptr<Fd>> members_;
};

void ExportIrqOwners(Napi::Env env, Napi::Object exports);
