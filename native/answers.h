#pragma once

#include <napi.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "fd.h"
#include "room.h"

// What a call answers: a number, which is -errno where it failed; or, where a number does not say
// it, what makes the value.
class Answer {
 public:
  // Runs on the JavaScript thread, or is dropped there unused: it holds plain data and no lease.
  using MakeValue = std::function<Napi::Value(Napi::Env env)>;

  Answer(double number = 0) : number_(number) {}
  Answer(MakeValue make) : make_(std::move(make)) {}

  // Undefined where Node-API makes no value, as while the environment ends; what it threw is
  // pending then.
  Napi::Value Value(Napi::Env env) const {
    napi_value value = make_ ? make_(env) : Napi::Number::New(env, number_);
    if (value == nullptr) napi_get_undefined(env, &value);
    return Napi::Value(env, value);
  }

 private:
  double number_ = 0;
  MakeValue make_;
};

// An Array of what `make` answers for each index; empty where Node-API failed.
template <typename Make>
Napi::Value ArrayFrom(Napi::Env env, size_t size, const Make& make) {
  Napi::Array array = Napi::Array::New(env, size);
  if (array.IsEmpty()) return array;
  for (uint32_t at = 0; at < size; at++) array.Set(at, make(at));
  return array;
}

// What a system call that fills in a number answers: that number, or -errno.
Answer ValueOr(int result, uint32_t value);
// The same as a BigInt: what the kernel answers as 64 bits cannot be taken for -errno then.
Answer BigOr(int result, uint64_t value);
// Uint8Array
Answer BytesAnswer(const Room<uint8_t>& bytes);
// Uint32Array
Answer WordsAnswer(const Room<uint32_t>& words);
// BigUint64Array
Answer LongsAnswer(const Room<uint64_t>& longs);
// The handle of a descriptor that the kernel made, or its -errno. Closed where nobody waits any
// more.
Answer FdAnswer(int fd);
Answer FdAnswer(int fd, std::shared_ptr<OpenFile> file);
