#include "hot.h"

#include "prepared.h"

#include <optional>
#include <utility>

#include "addon.h"
#include "arguments.h"
#include "export.h"
#include "external_buffer.h"

namespace {

constexpr size_t kMostAccesses = 1024;

// 64 bits for each access, and 32, up to a whole word.
size_t WordsFor(size_t accesses) { return accesses + (accesses + 1) / 2; }

bool IsAllowed(const Mapping& mapping, uint64_t offset, uint8_t kind) {
  if (kind > (Prepared::kWidth | Prepared::kWrite)) return false;
  const uint64_t width = uint64_t{1} << (kind & Prepared::kWidth);
  if (!mapping.IsAligned(offset, width) || !mapping.Holds(offset, width)) return false;
  return (kind & Prepared::kWrite) == 0 || mapping.IsWritable(offset, width);
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
    const uint64_t offset = (*offsets)[at];
    const uint8_t kind = (*kinds)[at];
    if (!IsAllowed(*mapping, offset, kind)) return {};
    accesses.push_back({mapping->at(offset), kind});
  }
  return addon.prepared.Add(std::make_shared<Prepared>(*handle, *mapping, std::move(accesses)));
}

// preparedValues(prepared) -> an ArrayBuffer of Prepared::Values
std::optional<Answer> PreparedValues(const Napi::CallbackInfo& info) {
  const auto prepared = NamedArgument(info, 0, AddonOf(info.Env()).prepared);
  if (!prepared) return {};
  return Answer([values = prepared->values()](Napi::Env env) {
    return ExternalBuffer(env, values->data(), values->size() * sizeof(uint64_t), values);
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
  Addon* addon = AddonOfCall(env, info);
  if (addon == nullptr) return nullptr;
  Mailbox& mailbox = *addon->mailbox;
  mailbox.status = RunPrepared(addon->prepared, addon->mappings, mailbox);
  return nullptr;
}

}  // namespace

Prepared::Prepared(uint32_t handle, const Mapping& mapping, std::vector<Access> accesses)
    : mapping_(handle),
      start_(mapping.at(0)),
      size_(mapping.size()),
      accesses_(std::move(accesses)),
      values_(std::make_shared<Values>(WordsFor(accesses_.size()))),
      row_{accesses_.data(), static_cast<uint32_t>(accesses_.size()),
           reinterpret_cast<uint32_t*>(values_->data() + accesses_.size()), values_->data()} {}

void ExportPrepared(Napi::Env env, Napi::Object exports) {
  ExportShortCall<Prepare>(env, exports, "prepare");
  ExportShortCall<PreparedValues>(env, exports, "preparedValues");
  ExportShortCall<PreparedRelease>(env, exports, "preparedRelease");
  ExportPlain(env, exports, "runPrepared", RunByMail);
}
