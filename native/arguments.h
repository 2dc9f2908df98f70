#pragma once

#include <napi.h>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fd.h"
#include "handles.h"

// Arguments as JavaScript gave them, checked. Nothing means refused: the native function then makes
// no system call and returns undefined, and TypeScript, which checks first, reports the mistake.

std::optional<uint32_t> Uint32Argument(const Napi::CallbackInfo& info, size_t index);
// A whole number from 0 to 2^53 - 1.
std::optional<uint64_t> SafeIntegerArgument(const Napi::CallbackInfo& info, size_t index);
// A BigInt of 64 bits without a sign.
std::optional<uint64_t> Uint64Argument(const Napi::CallbackInfo& info, size_t index);
// Refuses a string with a NUL, which would end the path early.
std::optional<std::string> StringArgument(const Napi::CallbackInfo& info, size_t index);
// Refuses an array with any other element than such strings.
std::optional<std::vector<std::string>> StringsArgument(const Napi::CallbackInfo& info,
                                                        size_t index);
// What a handle names in a table; null when refused.
template <typename Named>
std::shared_ptr<Named> NamedArgument(const Napi::CallbackInfo& info, size_t index,
                                     const HandleTable<Named>& table) {
  const auto handle = Uint32Argument(info, index);
  return handle ? table.Share(*handle) : nullptr;
}

// A handle that names a descriptor, for who needs the handle itself.
std::optional<uint32_t> HandleArgument(const Napi::CallbackInfo& info, size_t index);
// The descriptor that a handle names: its number, for a call made here and now.
std::optional<int> FdArgument(const Napi::CallbackInfo& info, size_t index);
// The same, for a call made later on another thread.
std::optional<FdLease> LeaseArgument(const Napi::CallbackInfo& info, size_t index);
// With `elements` at least, and of fewer bytes than the kernel's 32-bit argsz can say.
std::optional<std::span<int32_t>> Int32ArrayArgument(const Napi::CallbackInfo& info, size_t index,
                                                     size_t elements);
std::optional<std::span<uint32_t>> Uint32ArrayArgument(const Napi::CallbackInfo& info, size_t index,
                                                       size_t elements);
std::optional<std::span<uint8_t>> Uint8ArrayArgument(const Napi::CallbackInfo& info, size_t index,
                                                     size_t elements);
std::optional<std::span<uint64_t>> BigUint64ArrayArgument(const Napi::CallbackInfo& info,
                                                          size_t index, size_t elements);

// The memory of a Uint8Array, of fewer than 2^31 bytes: what one system call transfers at most.
std::optional<std::span<uint8_t>> BytesArgument(const Napi::CallbackInfo& info, size_t index);
