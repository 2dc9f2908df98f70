#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "fd.h"
#include "slow_call.h"

// What a slow call answers where a number does not say it.

// BigInt: what the kernel answers as 64 bits cannot be taken for -errno then.
Answer BigAnswer(uint64_t value);
// Uint8Array
Answer BytesAnswer(std::vector<uint8_t> bytes);
// Uint32Array
Answer WordsAnswer(std::vector<uint32_t> words);
// BigUint64Array
Answer LongsAnswer(std::vector<uint64_t> longs);
// The handle of a descriptor that the kernel made, or its -errno. Closed where nobody waits any
// more.
Answer FdAnswer(int fd);
Answer FdAnswer(int fd, std::shared_ptr<OpenFile> file);
