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
  Offers<SharedCount> shared_counts;
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

// memoryTake(offer, size) -> handle of the same memory; -ENOENT where nobody has it any more,
// -EINVAL where its size is another
std::optional<Answer> MemoryTake(const Napi::CallbackInfo& info) {
  const auto number = Uint32Argument(info, 0);
  const auto size = SafeIntegerArgument(info, 1);
  if (!number || !size) return {};
  std::shared_ptr<Memory> memory = TheOffers().memories.Take(*number);
  if (!memory) return -ENOENT;
  if (memory->size() != *size) return -EINVAL;
  return AddonOf(info.Env()).memories.Add(std::move(memory));
}

// sharedCountNew() -> handle
std::optional<Answer> SharedCountNew(const Napi::CallbackInfo& info) {
  return AddonOf(info.Env()).shared_counts.Add(std::make_shared<SharedCount>());
}

// sharedCountOffer(count) -> the offer's number
std::optional<Answer> SharedCountOffer(const Napi::CallbackInfo& info) {
  const std::shared_ptr<SharedCount> count =
      NamedArgument(info, 0, AddonOf(info.Env()).shared_counts);
  if (!count) return {};
  return TheOffers().shared_counts.Add(count);
}

// sharedCountTake(offer) -> handle; -ENOENT where nobody counts any more
std::optional<Answer> SharedCountTake(const Napi::CallbackInfo& info) {
  const auto number = Uint32Argument(info, 0);
  if (!number) return {};
  std::shared_ptr<SharedCount> count = TheOffers().shared_counts.Take(*number);
  if (!count) return -ENOENT;
  return AddonOf(info.Env()).shared_counts.Add(std::move(count));
}

// sharedCountDrop(count) -> 1 where it was the last
std::optional<Answer> SharedCountDrop(const Napi::CallbackInfo& info) {
  const auto handle = Uint32Argument(info, 0);
  std::shared_ptr<SharedCount> count =
      handle ? AddonOf(info.Env()).shared_counts.Take(*handle) : nullptr;
  if (!count) return {};
  return TheOffers().shared_counts.Drop(std::move(count));
}

}  // namespace

void ExportShared(Napi::Env env, Napi::Object exports) {
  ExportShortCall<FdOffer>(env, exports, "fdOffer");
  ExportShortCall<FdTake>(env, exports, "fdTake");
  ExportShortCall<MemoryOffer>(env, exports, "memoryOffer");
  ExportShortCall<MemoryTake>(env, exports, "memoryTake");
  ExportShortCall<SharedCountNew>(env, exports, "sharedCountNew");
  ExportShortCall<SharedCountOffer>(env, exports, "sharedCountOffer");
  ExportShortCall<SharedCountTake>(env, exports, "sharedCountTake");
  ExportShortCall<SharedCountDrop>(env, exports, "sharedCountDrop");
}
