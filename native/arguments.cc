#include "arguments.h"

#include <cmath>
#include <limits>
#include <utility>

#include "addon.h"

// A whole number from 0 to `most`.
static std::optional<double> WholeArgument(const Napi::CallbackInfo& info, size_t index,
                                           double most) {
  double number = 0;
  if (napi_get_value_double(info.Env(), info[index], &number) != napi_ok) return std::nullopt;
  if (!(number >= 0 && number <= most)) return std::nullopt;
  if (std::trunc(number) != number) return std::nullopt;
  return number;
}

std::optional<uint32_t> Uint32Argument(const Napi::CallbackInfo& info, size_t index) {
  const auto number = WholeArgument(info, index, std::numeric_limits<uint32_t>::max());
  if (!number) return std::nullopt;
  return static_cast<uint32_t>(*number);
}

std::optional<uint64_t> SafeIntegerArgument(const Napi::CallbackInfo& info, size_t index) {
  constexpr double kMostSafe = 9007199254740991;
  const auto number = WholeArgument(info, index, kMostSafe);
  if (!number) return std::nullopt;
  return static_cast<uint64_t>(*number);
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
  // Node-API failed: the empty text that it leaves was nobody's argument.
  if (value.Env().IsExceptionPending()) return std::nullopt;
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
  uint32_t length = 0;
  if (napi_get_array_length(info.Env(), array, &length) != napi_ok) return std::nullopt;
  std::vector<std::string> strings;
  for (uint32_t at = 0; at < length; at++) {
    auto text = StringOf(array.Get(at));
    if (!text) return std::nullopt;
    strings.push_back(std::move(*text));
  }
  return strings;
}

std::optional<uint32_t> HandleArgument(const Napi::CallbackInfo& info, size_t index) {
  const auto handle = Uint32Argument(info, index);
  if (!handle || !AddonOf(info.Env()).fds.Find(*handle)) return std::nullopt;
  return handle;
}

std::optional<int> FdArgument(const Napi::CallbackInfo& info, size_t index) {
  const auto handle = Uint32Argument(info, index);
  const Fd* fd = handle ? AddonOf(info.Env()).fds.Find(*handle) : nullptr;
  if (fd == nullptr) return std::nullopt;
  return fd->number();
}

std::optional<FdLease> LeaseArgument(const Napi::CallbackInfo& info, size_t index) {
  std::shared_ptr<Fd> fd = NamedArgument(info, index, AddonOf(info.Env()).fds);
  if (!fd) return std::nullopt;
  return FdLease(std::move(fd));
}

namespace {

template <typename Element>
std::optional<std::span<Element>> ArrayArgument(const Napi::CallbackInfo& info, size_t index,
                                                size_t elements, napi_typedarray_type type) {
  napi_typedarray_type found = napi_int8_array;
  size_t count = 0;
  void* data = nullptr;
  // Once: the wrappers ask for each of these anew.
  if (napi_get_typedarray_info(info.Env(), info[index], &found, &count, &data, nullptr, nullptr) !=
      napi_ok) {
    return std::nullopt;
  }
  if (found != type || count < elements) return std::nullopt;
  if (count > std::numeric_limits<uint32_t>::max() / sizeof(Element)) return std::nullopt;
  return std::span(static_cast<Element*>(data), count);
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

std::optional<std::span<uint8_t>> Uint8ArrayArgument(const Napi::CallbackInfo& info, size_t index,
                                                     size_t elements) {
  return ArrayArgument<uint8_t>(info, index, elements, napi_uint8_array);
}

std::optional<std::span<uint64_t>> BigUint64ArrayArgument(const Napi::CallbackInfo& info,
                                                          size_t index, size_t elements) {
  return ArrayArgument<uint64_t>(info, index, elements, napi_biguint64_array);
}

std::optional<std::span<uint8_t>> BytesArgument(const Napi::CallbackInfo& info, size_t index) {
  const auto bytes = ArrayArgument<uint8_t>(info, index, 0, napi_uint8_array);
  if (!bytes || bytes->size() > std::numeric_limits<int32_t>::max()) return std::nullopt;
  return bytes;
}
