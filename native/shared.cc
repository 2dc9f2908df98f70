#include "shared.h"

#include <cerrno>

#include "addon.h"
#include "answers.h"
#include "arguments.h"
#include "export.h"
#include "system_call.h"

namespace {

struct AllOffers {
  Offers<Fd> fds;
  Offers<Memory> memories;
  Offers<Tally> tallies;
};

// Never destroyed: when the process ends, threads may still be at work.
AllOffers& TheOffers() {
  static auto* offers = new AllOffers;
  return *offers;
}

// fdOffer(fd) -> the offer's number
std::optional<Answer> FdOffer(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Fd> fd = NamedArgument(info, 0, AddonOf(info.Env()).fds);
  if (!fd) return {};
  return TheOffers().fds.Add(fd);
}

// fdTake(offer) -> handle of a descriptor of the same open file; -ENOENT where that is closed
std::optional<Answer> FdTake(const Napi::CallbackInfo& info) {
  const auto number = Uint32Argument(info, 0);
  if (!number) return {};
  std::shared_ptr<Fd> fd = TheOffers().fds.Take(*number);
  if (!fd) return -ENOENT;
  // Its owner may close it at any moment, which waits for the lease.
  const FdLease lease(std::move(fd));
  if (lease.number() < 0) return -ENOENT;
  const int copy = Duplicate(lease.number());
  if (copy < 0) return copy;
  return FdAnswer(copy, lease.file());
}

// memoryOffer(memory) -> the offer's number
std::optional<Answer> MemoryOffer(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Memory> memory = MemoryArgument(info, 0);
  if (!memory) return {};
  return TheOffers().memories.Add(memory);
}

// memoryTake(offer) -> handle of the same memory; -ENOENT where nobody has it any more
std::optional<Answer> MemoryTake(const Napi::CallbackInfo& info) {
  const auto number = Uint32Argument(info, 0);
  if (!number) return {};
  std::shared_ptr<Memory> memory = TheOffers().memories.Take(*number);
  if (!memory) return -ENOENT;
  return AddonOf(info.Env()).memories.Add(std::move(memory));
}

// tallyNew() -> handle
std::optional<Answer> TallyNew(const Napi::CallbackInfo& info) {
  return AddonOf(info.Env()).tallies.Add(std::make_shared<Tally>());
}

// tallyOffer(tally) -> the offer's number
std::optional<Answer> TallyOffer(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Tally> tally = NamedArgument(info, 0, AddonOf(info.Env()).tallies);
  if (!tally) return {};
  return TheOffers().tallies.Add(tally);
}

// tallyTake(offer) -> handle; -ENOENT where nobody counts any more
std::optional<Answer> TallyTake(const Napi::CallbackInfo& info) {
  const auto number = Uint32Argument(info, 0);
  if (!number) return {};
  std::shared_ptr<Tally> tally = TheOffers().tallies.Take(*number);
  if (!tally) return -ENOENT;
  return AddonOf(info.Env()).tallies.Add(std::move(tally));
}

// tallyDrop(tally) -> 1 where it was the last
std::optional<Answer> TallyDrop(const Napi::CallbackInfo& info) {
  const auto handle = Uint32Argument(info, 0);
  std::shared_ptr<Tally> tally = handle ? AddonOf(info.Env()).tallies.Take(*handle) : nullptr;
  if (!tally) return {};
  return TheOffers().tallies.Drop(std::move(tally));
}

}  // namespace

void ExportShared(Napi::Env env, Napi::Object exports) {
  ExportShortCall<FdOffer>(env, exports, "fdOffer");
  ExportShortCall<FdTake>(env, exports, "fdTake");
  ExportShortCall<MemoryOffer>(env, exports, "memoryOffer");
  ExportShortCall<MemoryTake>(env, exports, "memoryTake");
  ExportShortCall<TallyNew>(env, exports, "tallyNew");
  ExportShortCall<TallyOffer>(env, exports, "tallyOffer");
  ExportShortCall<TallyTake>(env, exports, "tallyTake");
  ExportShortCall<TallyDrop>(env, exports, "tallyDrop");
}
