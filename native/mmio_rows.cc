#include "hot.h"

#include <optional>
#include <span>

#include "addon.h"
#include "fault_guard.h"
#include "mmio.h"

// Many accesses in one call, in their order. What is refused is refused before the first of them; a
// fault ends the row where it happens.

namespace {

// Arguments of a row, of which the first is the mapping; null where that names none.
struct Arguments {
  napi_value values[3];
  const Mapping* mapping = nullptr;

  Arguments(napi_env env, napi_callback_info info) {
    size_t count = 3;
    void* addon = nullptr;
    double handle = 0;
    if (napi_get_cb_info(env, info, &count, values, nullptr, &addon) != napi_ok) return;
    if (napi_get_value_double(env, values[0], &handle) != napi_ok) return;
    if (!(handle >= 0 && handle <= 4294967295.0)) return;
    const auto whole = static_cast<uint32_t>(handle);
    if (whole == handle) mapping = static_cast<Addon*>(addon)->mappings.Find(whole);
  }
};

// A typed array's elements, whatever they are.
struct Elements {
  napi_typedarray_type type;
  size_t count;
  void* data;
};

bool ElementsOf(napi_env env, napi_value value, Elements* elements) {
  return napi_get_typedarray_info(env, value, &elements->type, &elements->count, &elements->data,
                                  nullptr, nullptr) == napi_ok;
}

napi_value ToAnswer(napi_env env, int number) {
  napi_value answer = nullptr;
  napi_create_int32(env, number, &answer);
  return answer;
}

// Where 32 bits may be accessed. A copy, kept in registers: the compiler must not assume that the
// Mapping is the same after an access.
struct Places {
  uint64_t most;   // the last offset
  uint32_t start;  // the low bits of where the mapping starts
  uint64_t locked_start;
  uint64_t locked_end;

  bool Has(uint32_t offset) const {
    if (offset > most || (start + offset) % sizeof(uint32_t) != 0) return false;
    return offset >= locked_end || offset + sizeof(uint32_t) <= locked_start;
  }
};

Places PlacesOf(const Mapping& mapping, bool write) {
  const auto [start, end] = write ? mapping.read_only() : Mapping::Range{0, 0};
  const auto address = reinterpret_cast<uintptr_t>(mapping.at(0));
  const auto low = static_cast<uint32_t>(address % sizeof(uint32_t));
  return {mapping.size() - sizeof(uint32_t), low, start, end};
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

// Registers of 32 bits, one for each offset. Offsets are looked at twice: before the first access,
// so that a mistake changes nothing, and at each, since another thread may have the memory of the
// array, and what leaves the mapping must never be reached. Nothing where an offset is refused.
template <bool write>
std::optional<int> AccessRows(const Mapping& mapping, const volatile uint32_t* offsets,
                              uint32_t* values, size_t count) {
  if (mapping.size() < sizeof(uint32_t)) return std::nullopt;
  const Places allowed = PlacesOf(mapping, write);
  for (size_t at = 0; at < count; at++) {
    if (!allowed.Has(offsets[at])) return std::nullopt;
  }
  return Guarded(mapping.at(0), mapping.size(),
                 [&] { AccessEach<write>(mapping.at(0), allowed, offsets, values, count); });
}

// (mapping, offsets, values)
template <bool write>
napi_value Batch(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  const Mapping* mapping = arguments.mapping;
  Elements places = {};
  Elements room = {};
  if (mapping == nullptr) return nullptr;
  if (!ElementsOf(env, arguments.values[1], &places)) return nullptr;
  if (!ElementsOf(env, arguments.values[2], &room)) return nullptr;
  if (places.type != napi_uint32_array || room.type != napi_uint32_array) return nullptr;
  if (room.count < places.count) return nullptr;
  const auto result =
      AccessRows<write>(*mapping, static_cast<const volatile uint32_t*>(places.data),
                        static_cast<uint32_t*>(room.data), places.count);
  return result ? ToAnswer(env, *result) : nullptr;
}

// The same of a short row, by mail.
template <bool write>
napi_value BatchByMail(napi_env env, napi_callback_info info) {
  Addon* addon = AddonOfCall(env, info);
  if (addon == nullptr) return nullptr;
  Mailbox& mailbox = *addon->mailbox;
  const Mapping* mapping = addon->mappings.Find(mailbox.handle);
  const size_t count = mailbox.rows;
  mailbox.status = kRefused;
  if (mapping == nullptr || count > kMostRows) return nullptr;
  const auto result = AccessRows<write>(*mapping, mailbox.row_offsets, mailbox.row_values, count);
  if (result) mailbox.status = *result;
  return nullptr;
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
  if (!mapping.IsAligned(offset, sizeof(T))) return std::nullopt;
  if (!mapping.Holds(offset, values.size_bytes())) return std::nullopt;
  if (write && !mapping.IsWritable(offset, values.size_bytes())) return std::nullopt;
  return CopyBlock<T, write>(mapping, offset, values);
}

// (mapping, offset, values): neighbouring registers of the array's own width
template <bool write>
napi_value Blocks(napi_env env, napi_callback_info info) {
  const Arguments arguments(env, info);
  double offset = 0;
  Elements elements = {};
  if (arguments.mapping == nullptr) return nullptr;
  if (napi_get_value_double(env, arguments.values[1], &offset) != napi_ok) return nullptr;
  if (!(offset >= 0 && offset <= static_cast<double>(arguments.mapping->size()))) return nullptr;
  const auto start = static_cast<uint64_t>(offset);
  if (static_cast<double>(start) != offset) return nullptr;
  if (!ElementsOf(env, arguments.values[2], &elements)) return nullptr;
  std::optional<int> result;
  if (elements.type == napi_uint8_array) {
    result = Block<uint8_t, write>(*arguments.mapping, start, elements);
  } else if (elements.type == napi_uint16_array) {
    result = Block<uint16_t, write>(*arguments.mapping, start, elements);
  } else if (elements.type == napi_uint32_array) {
    result = Block<uint32_t, write>(*arguments.mapping, start, elements);
  } else if (elements.type == napi_biguint64_array) {
    result = Block<uint64_t, write>(*arguments.mapping, start, elements);
  }
  return result ? ToAnswer(env, *result) : nullptr;
}

}  // namespace

void ExportMmioRows(Napi::Env env, Napi::Object exports) {
  ExportPlain(env, exports, "readBatch32", Batch<false>);
  ExportPlain(env, exports, "writeBatch32", Batch<true>);
  ExportPlain(env, exports, "readRows32", BatchByMail<false>);
  ExportPlain(env, exports, "writeRows32", BatchByMail<true>);
  ExportPlain(env, exports, "readBlock", Blocks<false>);
  ExportPlain(env, exports, "writeBlock", Blocks<true>);
}
