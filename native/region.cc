#include "region.h"

#include <unistd.h>

#include <limits>
#include <vector>

#include "arguments.h"
#include "slow_call.h"

std::optional<int64_t> PositionArgument(const Napi::CallbackInfo& info, size_t index) {
  const auto high = Uint32Argument(info, index);
  const auto low = Uint32Argument(info, index + 1);
  const auto offset = SafeIntegerArgument(info, index + 2);
  if (!high || !low || !offset) return std::nullopt;
  const uint64_t start = (uint64_t{*high} << 32) | *low;
  constexpr uint64_t kMost = std::numeric_limits<int64_t>::max();
  if (start > kMost || *offset > kMost - start) return std::nullopt;
  return static_cast<int64_t>(start + *offset);
}

namespace {

// pread(device, start high, start low, offset, bytes) -> so many were read
Napi::Value Pread(const Napi::CallbackInfo& info) {
  const auto device = FdArgument(info, 0);
  const auto position = PositionArgument(info, 1);
  const auto bytes = BytesArgument(info, 4);
  if (!device || !position || !bytes) return info.Env().Undefined();
  const int result = RetryOnSignal(
      [&] { return static_cast<int>(pread(*device, bytes->data(), bytes->size(), *position)); });
  return Napi::Number::New(info.Env(), result);
}

// The arguments of both forms of pwrite.
struct Write {
  int64_t position;
  std::span<uint8_t> bytes;
};

std::optional<Write> WriteArguments(const Napi::CallbackInfo& info) {
  const auto position = PositionArgument(info, 1);
  const auto bytes = BytesArgument(info, 4);
  if (!position || !bytes) return std::nullopt;
  return Write{*position, *bytes};
}

int Pwrite(int device, std::span<const uint8_t> bytes, int64_t position) {
  return RetryOnSignal(
      [&] { return static_cast<int>(pwrite(device, bytes.data(), bytes.size(), position)); });
}

// pwriteSync(device, start high, start low, offset, bytes) -> so many were written
Napi::Value PwriteSync(const Napi::CallbackInfo& info) {
  const auto device = FdArgument(info, 0);
  const auto write = WriteArguments(info);
  if (!device || !write) return info.Env().Undefined();
  return Napi::Number::New(info.Env(), Pwrite(*device, write->bytes, write->position));
}

// pwrite(…): the same of a copy of the bytes. Not by ExportSlowCall, whose blocking form would
// copy.
Napi::Value PwriteSlowly(const Napi::CallbackInfo& info) {
  auto device = LeaseArgument(info, 0);
  const auto write = WriteArguments(info);
  if (!device || !write) return info.Env().Undefined();
  std::vector<uint8_t> copy(write->bytes.begin(), write->bytes.end());
  return RunSlowly(info.Env(),
                   [device = std::move(*device), copy = std::move(copy),
                    position = write->position]() -> int64_t {
                     return Pwrite(device.number(), copy, position);
                   });
}

}  // namespace

void ExportRegion(Napi::Env env, Napi::Object exports) {
  exports["pread"] = Napi::Function::New(env, Pread, "pread");
  exports["pwrite"] = Napi::Function::New(env, PwriteSlowly, "pwrite");
  exports["pwriteSync"] = Napi::Function::New(env, PwriteSync, "pwriteSync");
}
