#pragma once

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <span>

// Memory of a size that somebody else says, a caller or the kernel: there may not be so much. False
// then, which the caller answers by -ENOMEM; std::vector would end the process. Copies share it.
template <typename T>
class Room {
 public:
  // Zeros.
  explicit Room(size_t size) : data_(Zeros(size), std::free), size_(size) {}
  // A copy.
  explicit Room(std::span<const T> elements) : Room(elements.size()) {
    if (*this) std::copy(elements.begin(), elements.end(), data());
  }

  explicit operator bool() const { return data_ != nullptr; }
  T* data() const { return data_.get(); }
  size_t size() const { return size_; }
  size_t size_bytes() const { return size_ * sizeof(T); }
  std::span<T> span() const { return {data(), size_}; }
  // Keeps the first elements alone.
  void Shrink(size_t size) { size_ = std::min(size, size_); }

 private:
  static T* Zeros(size_t size) {
    return static_cast<T*>(std::calloc(std::max(size, size_t{1}), sizeof(T)));
  }

  std::shared_ptr<T> data_;
  size_t size_;
};
