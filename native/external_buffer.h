#pragma once

#include <napi.h>

#include <cerrno>
#include <memory>

// An ArrayBuffer over memory of ours, which it keeps until it is collected; or -errno.
inline Napi::Value ExternalBuffer(Napi::Env env, void* data, size_t size,
                                  std::shared_ptr<void> memory) {
  auto* keep = new std::shared_ptr<void>(std::move(memory));
  const auto free_keep = [](napi_env, void*, void* hint) {
    delete static_cast<std::shared_ptr<void>*>(hint);
  };
  napi_value buffer = nullptr;
  const napi_status status =
      napi_create_external_arraybuffer(env, data, size, free_keep, keep, &buffer);
  if (status == napi_ok) return Napi::Value(env, buffer);
  // Where the engine threw, as Node 20 does above 4 GiB, it calls the finalizer itself; where it
  // takes no foreign memory at all (pointer compression), or the worker is being terminated and
  // runs on to its next interrupt check, nobody does.
  if (env.IsExceptionPending()) {
    env.GetAndClearPendingException();
  } else {
    delete keep;
  }
  return Napi::Number::New(env, -EOPNOTSUPP);
}

// Words that JavaScript and the addon share: the memory of an ArrayBuffer of the engine's own,
// which is kept, and so stays where it is. Null where Node-API failed.
inline void* KeptWords(Napi::Env env, size_t size, Napi::ObjectReference* owner) {
  Napi::ArrayBuffer buffer = Napi::ArrayBuffer::New(env, size);
  if (buffer.IsEmpty()) return nullptr;
  void* data = buffer.Data();
  if (data == nullptr) return nullptr;
  *owner = Napi::Persistent(buffer.As<Napi::Object>());
  return owner->IsEmpty() ? nullptr : data;
}
