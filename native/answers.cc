#include "answers.h"

#include <cstring>
#include <utility>

#include "addon.h"

namespace {

template <typename Array, typename Element>
Answer ArrayAnswer(std::vector<Element> elements) {
  return Answer([elements = std::move(elements)](Napi::Env env) -> Napi::Value {
    Array array = Array::New(env, elements.size());
    // Empty where the worker is being terminated.
    if (array.IsEmpty()) return array;
    if (!elements.empty()) {
      std::memcpy(array.Data(), elements.data(), elements.size() * sizeof(Element));
    }
    return array;
  });
}

}  // namespace

Answer BigAnswer(uint64_t value) {
  return Answer([value](Napi::Env env) -> Napi::Value { return Napi::BigInt::New(env, value); });
}

Answer BytesAnswer(std::vector<uint8_t> bytes) {
  return ArrayAnswer<Napi::Uint8Array>(std::move(bytes));
}

Answer WordsAnswer(std::vector<uint32_t> words) {
  return ArrayAnswer<Napi::Uint32Array>(std::move(words));
}

Answer LongsAnswer(std::vector<uint64_t> longs) {
  return ArrayAnswer<Napi::BigUint64Array>(std::move(longs));
}

Answer FdAnswer(int fd) { return FdAnswer(fd, std::make_shared<OpenFile>()); }

Answer FdAnswer(int fd, std::shared_ptr<OpenFile> file) {
  if (fd < 0) return fd;
  return Answer([fd = std::make_shared<Fd>(fd, std::move(file))](Napi::Env env) -> Napi::Value {
    return Napi::Number::New(env, env.GetInstanceData<Addon>()->fds.Add(fd));
  });
}
