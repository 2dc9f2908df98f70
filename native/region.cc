#include "region.h"

#include <unistd.h>

#include <limits>

#include "addon.h"
#include "arguments.h"
#include "export.h"
#include "mmio.h"
#include "room.h"
#include "system_call.h"

static std::optional<int64_t> PositionOf(uint32_t high, uint32_t low, uint64_t offset) {
  const uint64_t start = (uint64_t{high} << 32) | low;
  constexpr uint64_t kMost = std::numeric_limits<int64_t>::max();
  if (start > kMost || offset > kMost - start) return std::nullopt;
  return static_cast<int64_t>(start + offset);
}

std::optional<int64_t> PositionArgument(const Napi::CallbackInfo& info, size_t index) {
  const auto high = Uint32Argument(info, index);
  const auto low = Uint32Argument(info, index + 1);
  const auto offset = SafeIntegerArgument(info, index + 2);
  if (!high || !low || !offset) return std::nullopt;
  return PositionOf(*high, *low, *offset);
}

namespace {

// pread(device, start high, start low, offset, bytes) -> so many were read
std::optional<Answer> Pread(const Napi::CallbackInfo& info) {
  const auto device = FdArgument(info, 0);
  const auto position = PositionArgument(info, 1);
  const auto bytes = BytesArgument(info, 4);
  if (!device || !position || !bytes) return {};
  return RetryOnSignal([&] { return pread(*device, bytes->data(), bytes->size(), *position); });
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
  return RetryOnSignal([&] { return pwrite(device, bytes.data(), bytes.size(), position); });
}

// pwriteSync(device, start high, start low, offset, bytes) -> so many were written
std::optional<Answer> PwriteSync(const Napi::CallbackInfo& info) {
  const auto device = FdArgument(info, 0);
  const auto write = WriteArguments(info);
  if (!device || !write) return {};
  return Pwrite(*device, write->bytes, write->position);
}

// pwrite(…): the same of a copy of the bytes. Not by ExportSlowCall, whose blocking form would
// copy.
Call PwriteSlowly(const Napi::CallbackInfo& info) {
  auto device = LeaseArgument(info, 0);
  const auto write = WriteArguments(info);
  if (!device || !write) return {};
  return [device = std::move(*device), copy = Room<uint8_t>(write->bytes),
          position = write->position]() -> Answer {
    if (!copy) return -ENOMEM;
    return Pwrite(device.number(), copy.span(), position);
  };
}

// pread<bits>(), pwrite<bits>(): one register, by the mailbox. All arguments of a pread would cost
// as much as the call itself.
template <typename T, bool write>
int32_t TransferWord(Addon& addon) {
  Mailbox& mailbox = *addon.mailbox;
  const Fd* device = addon.fds.Find(mailbox.handle);
  uint64_t offset = 0;
  if (device == nullptr || !OffsetOf(mailbox, &offset)) return kRefused;
  const auto position = PositionOf(mailbox.start_high, mailbox.start_low, offset);
  if (!position) return kRefused;
  T value = LittleEndian(static_cast<T>(mailbox.value));
  const int count = RetryOnSignal([&] {
    return write ? pwrite(device->number(), &value, sizeof(T), *position)
                 : pread(device->number(), &value, sizeof(T), *position);
  });
  if (count < 0) return count;
  if (count < static_cast<int>(sizeof(T))) return kShort + count;
  mailbox.value = LittleEndian(value);
  return kDone;
}

template <typename T, bool write>
napi_value Word(napi_env env, napi_callback_info info) {
  void* data = nullptr;
  if (napi_get_cb_info(env, info, nullptr, nullptr, nullptr, &data) != napi_ok) return nullptr;
  auto* addon = static_cast<Addon*>(data);
  addon->mailbox->status = TransferWord<T, write>(*addon);
  return nullptr;
}

}  // namespace

void ExportRegion(Napi::Env env, Napi::Object exports) {
  ExportShortCall<Pread>(env, exports, "pread");
  ExportPromise<PwriteSlowly>(env, exports, "pwrite");
  ExportShortCall<PwriteSync>(env, exports, "pwriteSync");
  ExportPlain(env, exports, "pread8", Word<uint8_t, false>);
  ExportPlain(env, exports, "pread16", Word<uint16_t, false>);
  ExportPlain(env, exports, "pread32", Word<uint32_t, false>);
  ExportPlain(env, exports, "pread64", Word<uint64_t, false>);
  ExportPlain(env, exports, "pwrite8", Word<uint8_t, true>);
  ExportPlain(env, exports, "pwrite16", Word<uint16_t, true>);
  ExportPlain(env, exports, "pwrite32", Word<uint32_t, true>);
  ExportPlain(env, exports, "pwrite64", Word<uint64_t, true>);
}
