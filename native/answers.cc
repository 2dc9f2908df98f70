#include "answers.h"

#include <cerrno>
#include <cstring>

#include "addon.h"

namespace {

// A typed array of these elements; empty, and an exception pending perhaps, where Node-API makes
// none.
napi_value ArrayOf(napi_env env, napi_typedarray_type type, const void* data, size_t count,
                   size_t bytes) {
  void* place = nullptr;
  napi_value buffer = nullptr;
  napi_value array = nullptr;
  if (napi_create_arraybuffer(env, bytes, &place, &buffer) != napi_ok) return nullptr;
  if (bytes > 0) std::memcpy(place, data, bytes);
  if (napi_create_typedarray(env, type, count, buffer, 0, &array) != napi_ok) return nullptr;
  return array;
}

template <typename Element>
Answer ArrayAnswer(napi_typedarray_type type, const Room<Element>& room) {
  if (!room) return -ENOMEM;
  return Answer([type, room](Napi::Env env) {
    return Napi::Value(env, ArrayOf(env, type, room.data(), room.size(), room.size_bytes()));
  });
}

}  // namespace

Answer ValueOr(int result, uint32_t value) {
  if (result < 0) return result;
  return value;
}

Answer BigOr(int result, uint64_t value) {
  if (result < 0) return result;
  return Answer([value](Napi::Env env) -> Napi::Value { return Napi::BigInt::New(env, value); });
}

Answer BytesAnswer(const Room<uint8_t>& bytes) { return ArrayAnswer(napi_uint8_array, bytes); }

Answer WordsAnswer(const Room<uint32_t>& words) { return ArrayAnswer(napi_uint32_array, words); }

Answer LongsAnswer(const Room<uint64_t>& longs) { return ArrayAnswer(napi_biguint64_array, longs); }

Answer FdAnswer(int fd) { return FdAnswer(fd, std::make_shared<OpenFile>()); }

Answer FdAnswer(int fd, std::shared_ptr<OpenFile> file) {
  if (fd < 0) return fd;
  return Answer([fd = std::make_shared<Fd>(fd, std::move(file))](Napi::Env env) -> Napi::Value {
    return Napi::Number::New(env, AddonOf(env).fds.Add(fd));
  });
}
