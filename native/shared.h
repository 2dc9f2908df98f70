#pragma once

#include <napi.h>

#include <cstdint>
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
  uint32_t Add(const std::shared_ptr<Shared>& shared) {
    const std::lock_guard lock(mutex_);
    std::erase_if(offers_, [](const auto& offer) { return offer.second.expired(); });
    last_ = NextHandle(last_, offers_);
    offers_.emplace(last_, shared);
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
  std::mutex mutex_;
  std::unordered_map<uint32_t, std::weak_ptr<Shared>> offers_;
  uint32_t last_ = 0;
};

// Counts the owners of what the kernel names by a number alone: an address space.
struct SharedCount {};

void ExportShared(Napi::Env env, Napi::Object exports);
