#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <utility>

// The number after `last` that names nothing yet. Numbers start anew after 2^32: far from those
// that are still in use.
template <typename Named>
uint32_t NextHandle(uint32_t last, const std::unordered_map<uint32_t, Named>& named) {
  do last++;
  while (last == 0 || named.contains(last));
  return last;
}

// What one environment has of a kind. JavaScript holds handles, numbers that are not used again, so
// that a handle that is stale or made up names nothing.
template <typename Named>
class HandleTable {
 public:
  uint32_t Add(std::shared_ptr<Named> named) {
    last_ = NextHandle(last_, named_);
    named_.emplace(last_, std::move(named));
    return last_;
  }

  // For a call that ends before the JavaScript thread can take it away. Null where the handle names
  // nothing.
  Named* Find(uint32_t handle) {
    const Recent& recent = recent_[handle % kRecent];
    if (handle == recent.handle) [[likely]]
      return recent.named;
    return LookUp(handle);
  }

  std::shared_ptr<Named> Share(uint32_t handle) const {
    const auto found = named_.find(handle);
    return found == named_.end() ? nullptr : found->second;
  }

  // How often a handle was forgotten: who found something keeps it while this stays the same.
  uint64_t forgotten() const { return forgotten_; }

  // Forgets the handle.
  std::shared_ptr<Named> Take(uint32_t handle) {
    std::shared_ptr<Named> named = Share(handle);
    named_.erase(handle);
    forgotten_++;
    Recent& recent = recent_[handle % kRecent];
    if (recent.handle == handle) recent = {};
    return named;
  }

 private:
  [[gnu::noinline]] Named* LookUp(uint32_t handle) {
    const auto found = named_.find(handle);
    if (found == named_.end()) return nullptr;
    recent_[handle % kRecent] = {handle, found->second.get()};
    return found->second.get();
  }

  std::unordered_map<uint32_t, std::shared_ptr<Named>> named_;
  uint32_t last_ = 0;
  uint64_t forgotten_ = 0;
  // Accesses come again and again to the same few: looking one up would be a good part of their
  // time. 0 names nothing.
  struct Recent {
    uint32_t handle = 0;
    Named* named = nullptr;
  };
  static constexpr size_t kRecent = 16;
  std::array<Recent, kRecent> recent_ = {};
};

// What a handle names, for who asks again and again. Nothing is kept alive by it.
class NamedFor {
 public:
  explicit NamedFor(uint32_t handle) : handle_(handle) {}

  // Whether the handle names something still.
  template <typename Named>
  bool IsIn(HandleTable<Named>& table) {
    if (table.forgotten() == forgotten_) [[likely]]
      return is_in_;
    return IsStillIn(table);
  }

 private:
  template <typename Named>
  [[gnu::noinline]] bool IsStillIn(HandleTable<Named>& table) {
    forgotten_ = table.forgotten();
    is_in_ = table.Find(handle_) != nullptr;
    return is_in_;
  }

  uint32_t handle_;
  bool is_in_ = false;
  uint64_t forgotten_ = UINT64_MAX;
};
