#include "prepared.h"

#include <optional>
#include <span>
#include <utility>

#include "addon.h"
#include "arguments.h"
#include "export.h"
#include "external_buffer.h"
#include "fault_guard.h"

namespace {

constexpr size_t kMostAccesses = 1024;

// JavaScript may change a value at any time, where it gave the memory to another thread; so each is
// read or written once.
template <typename T, typename Value>
void AccessOne(volatile std::byte* place, bool write, volatile Value* value) {
  if (write) {
    Store<T>(place, static_cast<T>(*value));
  } else {
    *value = Load<T>(place);
  }
}

}  // namespace

Prepared::Prepared(uint32_t mapping, std::vector<Access> accesses)
    : mapping_(mapping),
      accesses_(std::move(accesses)),
      values_(std::make_shared<Values>(accesses_.size())) {}

int32_t Prepared::Run(const Mapping& mapping, uint32_t* failed_at) const {
  const std::span<const Access> accesses = accesses_;
  volatile uint64_t* wide = values_->words.data();
  auto* narrow = reinterpret_cast<volatile uint32_t*>(wide + accesses.size());
  volatile std::byte* start = mapping.at(0);
  return Guarded(start, mapping.size(), [&] {
    for (uint32_t at = 0; at < accesses.size(); at++) {
      const auto [offset, kind] = accesses[at];
      volatile std::byte* place = start + offset;
      const bool write = (kind & kWrite) != 0;
      *failed_at = at;
      switch (kind & kWidth) {
        case 0:
          AccessOne<uint8_t>(place, write, narrow + at);
          break;
        case 1:
          AccessOne<uint16_t>(place, write, narrow + at);
          break;
        case 2:
          AccessOne<uint32_t>(place, write, narrow + at);
          break;
        default:
          AccessOne<uint64_t>(place, write, wide + at);
      }
    }
  });
}

int32_t RunPrepared(Addon& addon, Mailbox& mailbox) {
  const Prepared* prepared = addon.prepared.Find(mailbox.prepared);
  if (prepared == nullptr) return kRefused;
  const Mapping* mapping = addon.mappings.Find(prepared->mapping());
  if (mapping == nullptr) return kRefused;
  return prepared->Run(*mapping, &mailbox.failed_at);
}

namespace {

bool IsAllowed(const Mapping& mapping, const Prepared::Access& access) {
  const uint64_t width = uint64_t{1} << (access.kind & Prepared::kWidth);
  if (access.offset % width != 0 || !mapping.Holds(access.offset, width)) return false;
  return (access.kind & Prepared::kWrite) == 0 || mapping.IsWritable(access.offset, width);
}

// prepare(mapping, kinds, offsets) -> handle; kinds are those of Prepared::Access, an offset for
// each
std::optional<Answer> Prepare(const Napi::CallbackInfo& info) {
  Addon& addon = AddonOf(info.Env());
  const auto handle = Uint32Argument(info, 0);
  const auto kinds = Uint8ArrayArgument(info, 1, 1);
  if (!handle || !kinds || kinds->size() > kMostAccesses) return {};
  const auto offsets = BigUint64ArrayArgument(info, 2, kinds->size());
  const Mapping* mapping = addon.mappings.Find(*handle);
  if (mapping == nullptr || !offsets) return {};
  std::vector<Prepared::Access> accesses;
  for (size_t at = 0; at < kinds->size(); at++) {
    const Prepared::Access access = {(*offsets)[at], (*kinds)[at]};
    if (access.kind > (Prepared::kWidth | Prepared::kWrite)) return {};
    if (!IsAllowed(*mapping, access)) return {};
    accesses.push_back(access);
  }
  return addon.prepared.Add(std::make_shared<Prepared>(*handle, std::move(accesses)));
}

// preparedValues(prepared) -> an ArrayBuffer: for each access 64 bits, then for each 32 bits
std::optional<Answer> PreparedValues(const Napi::CallbackInfo& info) {
  const auto prepared = NamedArgument(info, 0, AddonOf(info.Env()).prepared);
  if (!prepared) return {};
  return Answer([values = prepared->values()](Napi::Env env) {
    std::vector<uint64_t>& words = values->words;
    return ExternalBuffer(env, words.data(), words.size() * sizeof(uint64_t), values);
  });
}

// preparedRelease(prepared): forgets the handle
std::optional<Answer> PreparedRelease(const Napi::CallbackInfo& info) {
  const auto handle = Uint32Argument(info, 0);
  if (!handle || !AddonOf(info.Env()).prepared.Take(*handle)) return {};
  return 0;
}

// By mail, as single accesses: (prepared) -> status, failed_at
napi_value RunByMail(napi_env env, napi_callback_info info) {
  void* data = nullptr;
  if (napi_get_cb_info(env, info, nullptr, nullptr, nullptr, &data) != napi_ok) return nullptr;
  auto* addon = static_cast<Addon*>(data);
  addon->mailbox->status = RunPrepared(*addon, *addon->mailbox);
  return nullptr;
}

}  // namespace

void ExportPrepared(Napi::Env env, Napi::Object exports) {
  ExportShortCall<Prepare>(env, exports, "prepare");
  ExportShortCall<PreparedValues>(env, exports, "preparedValues");
  ExportShortCall<PreparedRelease>(env, exports, "preparedRelease");
  ExportPlain(env, exports, "runPrepared", RunByMail);
}
