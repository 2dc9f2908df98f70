#include "arguments.h"

#include <cmath>
#include <limits>
#include <utility>

#include "addon.h"

std::optional<uint32_t> Uint32Argument(const Napi::CallbackInfo& info, size_t index) {
  const Napi::Value value = info[index];
  if (!value.IsNumber()) return std::nullopt;
  const double number = value.As<Napi::Number>().DoubleValue();
  if (!(number >= 0 && number <= std::numeric_limits<uint32_t>::max())) return std::nullopt;
  if (std::trunc(number) != number) return std::nullopt;
  return static_cast<uint32_t>(number);
}

std::optional<uint64_t> Uint64Argument(const Napi::CallbackInfo& info, size_t index) {
  const Napi::Value value = info[index];
  if (!value.IsBigInt()) return std::nullopt;
  bool lossless = false;
  const uint64_t number = value.As<Napi::BigInt>().Uint64Value(&lossless);
  if (!lossless) return std::nullopt;
  return number;
}

static std::optional<std::string> StringOf(const Napi::Value& value) {
  // Empty: a getter of the array threw, and JavaScript gets what it threw.
  if (value.IsEmpty() || !value.IsString()) return std::nullopt;
  std::string text = value.As<Napi::String>().Utf8Value();
  if (text.find('\0') != std::string::npos) return std::nullopt;
  return text;
}

std::optional<std::string> StringArgument(const Napi::CallbackInfo& info, size_t index) {
  return StringOf(info[index]);
}

std::optional<std::vector<std::string>> StringsArgument(const Napi::CallbackInfo& info,
                                                        size_t index) {
  const Napi::Value value = info[index];
  if (!value.IsArray()) return std::nullopt;
  const auto array = value.As<Napi::Array>();
  const uint32_t length = array.Length();
  std::vector<std::string> strings;
  for (uint32_t at = 0; at < length; at++) {
    auto text = StringOf(array.Get(at));
    if (!text) return std::nullopt;
    strings.push_back(std::move(*text));
  }
  return strings;
}

static std::shared_ptr<Fd> FindFd(const Napi::CallbackInfo& info, size_t index) {
  const auto handle = Uint32Argument(info, index);
  return handle ? info.Env().GetInstanceData<Addon>()->fds.Find(*handle) : nullptr;
}

std::optional<int> FdArgument(const Napi::CallbackInfo& info, size_t index) {
  const std::shared_ptr<Fd> fd = FindFd(info, index);
  if (!fd) return std::nullopt;
  return fd->number();
}

std::optional<FdLease> LeaseArgument(const Napi::CallbackInfo& info, size_t index) {
  std::shared_ptr<Fd> fd = FindFd(info, index);
  if (!fd) return std::nullopt;
  return FdLease(std::move(fd));
}

namespace {

template <typename Element>
std::optional<std::span<Element>> ArrayArgument(const Napi::CallbackInfo& info, size_t index,
                                                size_t elements, napi_typedarray_type type) {
  const Napi::Value value = info[index];
  if (!value.IsTypedArray()) return std::nullopt;
  auto array = value.As<Napi::TypedArrayOf<Element>>();
  if (array.TypedArrayType() != type || array.ElementLength() < elements) return std::nullopt;
  if (array.ByteLength() > std::numeric_limits<uint32_t>::max()) return std::nullopt;
  return std::span(array.Data(), array.ElementLength());
}

}  // namespace

std::optional<std::span<int32_t>> Int32ArrayArgument(const Napi::CallbackInfo& info, size_t index,
                                                     size_t elements) {
  return ArrayArgument<int32_t>(info, index, elements, napi_int32_array);
}

std::optional<std::span<uint32_t>> Uint32ArrayArgument(const Napi::CallbackInfo& info, size_t index,
                                                       size_t elements) {
  return ArrayArgument<uint32_t>(info, index, elements, napi_uint32_array);
}

std::optional<std::span<uint64_t>> BigUint64ArrayArgument(const Napi::CallbackInfo& info,
                                                          size_t index, size_t elements) {
  return ArrayArgument<uint64_t>(info, index, elements, napi_biguint64_array);
}
