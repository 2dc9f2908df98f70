#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

// What a fuzzer gives, read in pieces; zeros where there is nothing left. Each target includes the
// source that it tries, for what is in no header: what that needs of Node is not linked, and not
// called.
class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), size_(size) {}

  template <typename T>
  T Take() {
    T value = {};
    const size_t length = size_ < sizeof(T) ? size_ : sizeof(T);
    if (length > 0) std::memcpy(&value, data_, length);
    data_ += length;
    size_ -= length;
    return value;
  }

  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  const uint8_t* data_;
  size_t size_;
};

// What must hold; ends the process, which is what a fuzzer looks for.
inline void Require(bool holds) {
  if (!holds) std::abort();
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
