#pragma once

#include <cstdint>
#include <memory>

#include "fd.h"
#include "room.h"
#include "slow_call.h"

// What a slow call answers where a number does not say it.

// An Array of what `make` answers for each index; empty where Node-API failed.
template <typename Make>
Napi::Value ArrayFrom(Napi::Env env, size_t size, const Make& make) {
  Napi::Array array = Napi::Array::New(env, size);
  if (array.IsEmpty()) return array;
  for (uint32_t at = 0; at < size; at++) array.Set(at, make(at));
  return array;
}

// BigInt: what the kernel answers as 64 bits cannot be taken for -errno then.
Answer BigAnswer(uint64_t value);
// Uint8Array
Answer BytesAnswer(Room<uint8_t> bytes);
// Uint32Array
Answer WordsAnswer(Room<uint32_t> words);
// BigUint64Array
Answer LongsAnswer(Room<uint64_t> longs);
// The handle of a descriptor that the kernel made, or its -errno. Closed where nobody waits any
// more.
Answer FdAnswer(int fd);
Answer FdAnswer(int fd, std::shared_ptr<OpenFile> file);
