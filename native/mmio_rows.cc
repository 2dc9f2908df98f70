#include <optional>
#include <span>
#include <vector>

#include "addon.h"
#include "arguments.h"
#include "fault_guard.h"
#include "mmio.h"

// Many accesses in one call, in their order. What is refused is refused before the first of them; a
// fault ends the row where it happens.

namespace {

const Mapping* MappingArgument(const Napi::CallbackInfo& info, size_t index) {
  const auto handle = Uint32Argument(info, index);
  return handle ? info.Env().GetInstanceData<Addon>()->mappings.Find(*handle) : nullptr;
}

// A typed array's elements, whatever they are.
struct Elements {
  napi_typedarray_type type;
  size_t count;
  void* data;
};

std::optional<Elements> ElementsArgument(const Napi::CallbackInfo& info, size_t index) {
  Elements elements = {};
  if (napi_get_typedarray_info(info.Env(), info[index], &elements.type, &elements.count,
                               &elements.data, nullptr, nullptr) != napi_ok) {
    return std::nullopt;
  }
  return elements;
}

// Where 32 bits may be accessed. A copy, kept in registers: the compiler must not assume that the
// Mapping is the same after an access.
struct Places {
  uint64_t most;  // the last offset
  uint64_t locked_start;
  uint64_t locked_end;

  bool Has(uint32_t offset) const {
    if (offset > most || offset % sizeof(uint32_t) != 0) return false;
    return offset >= locked_end || offset + sizeof(uint32_t) <= locked_start;
  }
};

Places PlacesOf(const Mapping& mapping, bool write) {
  const auto [start, end] = write ? mapping.read_only() : Mapping::Range{0, 0};
  return {mapping.size() - sizeof(uint32_t), start, end};
}

template <bool write>
void AccessEach(volatile std::byte* start, const Places places, const volatile uint32_t* offsets,
                uint32_t* values, size_t count) {
  for (size_t at = 0; at < count; at++) {
    const uint32_t offset = offsets[at];
    if (!places.Has(offset)) return;
    if constexpr (write) {
      Store<uint32_t>(start + offset, values[at]);
    } else {
      values[at] = Load<uint32_t>(start + offset);
    }
  }
}

// (mapping, offsets, values): registers of 32 bits, one for each offset. Offsets are looked at
// twice: before the first access, so that a mistake changes nothing, and at each, since another
// thread may have the memory of the array, and what leaves the mapping must never be reached.
template <bool write>
Napi::Value Batch(const Napi::CallbackInfo& info) {
  const Mapping* mapping = MappingArgument(info, 0);
  const auto places = ElementsArgument(info, 1);
  const auto room = ElementsArgument(info, 2);
  if (mapping == nullptr || !places || !room) return info.Env().Undefined();
  if (places->type != napi_uint32_array || room->type != napi_uint32_array ||
      room->count < places->count || mapping->size() < sizeof(uint32_t)) {
    return info.Env().Undefined();
  }
  const auto* offsets = static_cast<const volatile uint32_t*>(places->data);
  const Places allowed = PlacesOf(*mapping, write);
  for (size_t at = 0; at < places->count; at++) {
    if (!allowed.Has(offsets[at])) return info.Env().Undefined();
  }
  const int error = Guarded(mapping->at(0), mapping->size(), [&] {
    AccessEach<write>(mapping->at(0), allowed, offsets, static_cast<uint32_t*>(room->data),
                      places->count);
  });
  return Napi::Number::New(info.Env(), error);
}

template <typename T, bool write>
int CopyBlock(const Mapping& mapping, uint64_t offset, std::span<T> values) {
  return Guarded(mapping.at(offset), values.size_bytes(), [&] {
    volatile std::byte* place = mapping.at(offset);
    for (T& value : values) {
      if constexpr (write) {
        Store<T>(place, value);
      } else {
        value = Load<T>(place);
      }
      place += sizeof(T);
    }
  });
}

template <typename T, bool write>
std::optional<int> Block(const Mapping& mapping, uint64_t offset, const Elements& elements) {
  const std::span values(static_cast<T*>(elements.data), elements.count);
  if (offset % sizeof(T) != 0 || !mapping.Holds(offset, values.size_bytes())) return std::nullopt;
  if (write && !mapping.IsWritable(offset, values.size_bytes())) return std::nullopt;
  return CopyBlock<T, write>(mapping, offset, values);
}

// (mapping, offset, values): neighbouring registers of the array's own width
template <bool write>
Napi::Value Blocks(const Napi::CallbackInfo& info) {
  const Mapping* mapping = MappingArgument(info, 0);
  const auto offset = SafeIntegerArgument(info, 1);
  const auto elements = ElementsArgument(info, 2);
  if (mapping == nullptr || !offset || !elements) return info.Env().Undefined();
  std::optional<int> result;
  if (elements->type == napi_uint8_array) {
    result = Block<uint8_t, write>(*mapping, *offset, *elements);
  } else if (elements->type == napi_uint16_array) {
    result = Block<uint16_t, write>(*mapping, *offset, *elements);
  } else if (elements->type == napi_uint32_array) {
    result = Block<uint32_t, write>(*mapping, *offset, *elements);
  } else if (elements->type == napi_biguint64_array) {
    result = Block<uint64_t, write>(*mapping, *offset, *elements);
  }
  if (!result) return info.Env().Undefined();
  return Napi::Number::New(info.Env(), *result);
}

}  // namespace

void ExportMmioRows(Napi::Env env, Napi::Object exports) {
  exports["readBatch32"] = Napi::Function::New(env, Batch<false>, "readBatch32");
  exports["writeBatch32"] = Napi::Function::New(env, Batch<true>, "writeBatch32");
  exports["readBlock"] = Napi::Function::New(env, Blocks<false>, "readBlock");
  exports["writeBlock"] = Napi::Function::New(env, Blocks<true>, "writeBlock");
}
