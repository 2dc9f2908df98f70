#pragma once

#include <napi.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "handles.h"

// What environments of one process offer to one another, by numbers. This is state of the whole
// process, and has to be: two environments have nothing else in common that a message between them
// could name. An offer keeps nothing alive; when its owners are gone there is nothing to take.
template <typename Shared>
class Offers {
 public:
  // The same number each time, for as long as it lives: a program may offer it as often as it
  // likes.
  uint32_t Add(const std::shared_ptr<Shared>& shared) {
    const std::lock_guard lock(mutex_);
    if (const auto known = numbers_.find(shared); known != numbers_.end()) return known->second;
    if (offers_.size() >= sweep_at_) Sweep();
    last_ = NextHandle(last_, offers_);
    offers_.emplace(last_, shared);
    numbers_.emplace(shared, last_);
    return last_;
  }

  // Null where nobody has it any more.
  std::shared_ptr<Shared> Take(uint32_t number) {
    const std::lock_guard lock(mutex_);
    const auto found = offers_.find(number);
    return found == offers_.end() ? nullptr : found->second.lock();
  }

  // Lets one owner go; whether it was the last.
  bool Drop(std::shared_ptr<Shared> shared) {
    const std::lock_guard lock(mutex_);
    const bool last = shared.use_count() == 1;
    shared.reset();
    return last;
  }

 private:
  static constexpr size_t kFewest = 64;

  // Forgets what is gone. The next time is when there are twice as many as are left now, so that
  // an offer costs the same however many there are.
  void Sweep() {
    std::erase_if(offers_, [](const auto& offer) { return offer.second.expired(); });
    std::erase_if(numbers_, [](const auto& number) { return number.first.expired(); });
    sweep_at_ = std::max(kFewest, 2 * offers_.size());
  }

  using Weak = std::weak_ptr<Shared>;

  std::mutex mutex_;
  std::unordered_map<uint32_t, Weak> offers_;
  // By what owns it, which also tells apart what is gone from what came to be in its place.
  std::map<Weak, uint32_t, std::owner_less<>> numbers_;
  size_t sweep_at_ = kFewest;
  uint32_t last_ = 0;
};

// Counts the owners of what the kernel names by a number alone: an address space.
struct SharedCount {};

void ExportShared(Napi::Env env, Napi::Object exports);
