#include "shared.h"

#include <fcntl.h>

#include <cerrno>

#include "addon.h"
#include "arguments.h"

uint32_t TallyTable::Add(std::shared_ptr<Tally> tally) {
  do last_++;
  while (last_ == 0 || tallies_.contains(last_));
  tallies_.emplace(last_, std::move(tally));
  return last_;
}

std::shared_ptr<Tally> TallyTable::Find(uint32_t handle) const {
  const auto found = tallies_.find(handle);
  return found == tallies_.end() ? nullptr : found->second;
}

std::shared_ptr<Tally> TallyTable::Take(uint32_t handle) {
  std::shared_ptr<Tally> tally = Find(handle);
  tallies_.erase(handle);
  return tally;
}

namespace {

Offers<Fd> fd_offers;
Offers<Memory> memory_offers;
Offers<Tally> tally_offers;

Addon* AddonOf(const Napi::CallbackInfo& info) { return info.Env().GetInstanceData<Addon>(); }

Napi::Value NumberOf(const Napi::CallbackInfo& info, double number) {
  return Napi::Number::New(info.Env(), number);
}

// fdOffer(fd) -> the offer's number
Napi::Value FdOffer(const Napi::CallbackInfo& info) {
  const auto handle = Uint32Argument(info, 0);
  const std::shared_ptr<Fd> fd = handle ? AddonOf(info)->fds.Find(*handle) : nullptr;
  if (!fd) return info.Env().Undefined();
  return NumberOf(info, fd_offers.Add(fd));
}

// fdTake(offer) -> handle of a descriptor of the same open file; -ENOENT where that is closed
Napi::Value FdTake(const Napi::CallbackInfo& info) {
  const auto number = Uint32Argument(info, 0);
  if (!number) return info.Env().Undefined();
  std::shared_ptr<Fd> fd = fd_offers.Take(*number);
  if (!fd) return NumberOf(info, -ENOENT);
  // Its owner may close it at any moment, which waits for the lease.
  const FdLease lease(std::move(fd));
  if (lease.number() < 0) return NumberOf(info, -ENOENT);
  const int copy = fcntl(lease.number(), F_DUPFD_CLOEXEC, 0);
  if (copy < 0) return NumberOf(info, -errno);
  return NumberOf(info, AddonOf(info)->fds.Add(copy, lease.file()));
}

// memoryOffer(memory) -> the offer's number
Napi::Value MemoryOffer(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Memory> memory = MemoryArgument(info, 0);
  if (!memory) return info.Env().Undefined();
  return NumberOf(info, memory_offers.Add(memory));
}

// memoryTake(offer) -> handle of the same memory; -ENOENT where nobody has it any more
Napi::Value MemoryTake(const Napi::CallbackInfo& info) {
  const auto number = Uint32Argument(info, 0);
  if (!number) return info.Env().Undefined();
  std::shared_ptr<Memory> memory = memory_offers.Take(*number);
  if (!memory) return NumberOf(info, -ENOENT);
  return NumberOf(info, AddonOf(info)->memories.Add(std::move(memory)));
}

// tallyNew() -> handle
Napi::Value TallyNew(const Napi::CallbackInfo& info) {
  return NumberOf(info, AddonOf(info)->tallies.Add(std::make_shared<Tally>()));
}

// tallyOffer(tally) -> the offer's number
Napi::Value TallyOffer(const Napi::CallbackInfo& info) {
  const auto handle = Uint32Argument(info, 0);
  const std::shared_ptr<Tally> tally = handle ? AddonOf(info)->tallies.Find(*handle) : nullptr;
  if (!tally) return info.Env().Undefined();
  return NumberOf(info, tally_offers.Add(tally));
}

// tallyTake(offer) -> handle; -ENOENT where nobody counts any more
Napi::Value TallyTake(const Napi::CallbackInfo& info) {
  const auto number = Uint32Argument(info, 0);
  if (!number) return info.Env().Undefined();
  std::shared_ptr<Tally> tally = tally_offers.Take(*number);
  if (!tally) return NumberOf(info, -ENOENT);
  return NumberOf(info, AddonOf(info)->tallies.Add(std::move(tally)));
}

// tallyDrop(tally) -> 1 where it was the last
Napi::Value TallyDrop(const Napi::CallbackInfo& info) {
  const auto handle = Uint32Argument(info, 0);
  std::shared_ptr<Tally> tally = handle ? AddonOf(info)->tallies.Take(*handle) : nullptr;
  if (!tally) return info.Env().Undefined();
  return NumberOf(info, tally_offers.Drop(std::move(tally)) ? 1 : 0);
}

}  // namespace

void ExportShared(Napi::Env env, Napi::Object exports) {
  exports["fdOffer"] = Napi::Function::New(env, FdOffer, "fdOffer");
  exports["fdTake"] = Napi::Function::New(env, FdTake, "fdTake");
  exports["memoryOffer"] = Napi::Function::New(env, MemoryOffer, "memoryOffer");
  exports["memoryTake"] = Napi::Function::New(env, MemoryTake, "memoryTake");
  exports["tallyNew"] = Napi::Function::New(env, TallyNew, "tallyNew");
  exports["tallyOffer"] = Napi::Function::New(env, TallyOffer, "tallyOffer");
  exports["tallyTake"] = Napi::Function::New(env, TallyTake, "tallyTake");
  exports["tallyDrop"] = Napi::Function::New(env, TallyDrop, "tallyDrop");
}
