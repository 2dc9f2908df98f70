#pragma once

#include <napi.h>

#include <optional>
#include <string>
#include <utility>

#include "answers.h"
#include "slow_call.h"

// How functions come to JavaScript, which gets undefined where they refuse their arguments.

// A call that does not block. Nothing means that it refused its arguments and did nothing.
using ShortCall = std::optional<Answer> (*)(const Napi::CallbackInfo& info);

// Reads the arguments of a slow call on the JavaScript thread.
using PrepareCall = Call (*)(const Napi::CallbackInfo& info);

template <ShortCall call>
Napi::Value Run(const Napi::CallbackInfo& info) {
  const std::optional<Answer> answer = call(info);
  return answer ? answer->Value(info.Env()) : info.Env().Undefined();
}

template <PrepareCall prepare, WithoutThread without>
Napi::Value Start(const Napi::CallbackInfo& info) {
  Call call = prepare(info);
  return call ? RunSlowly(info.Env(), std::move(call), without) : info.Env().Undefined();
}

template <PrepareCall prepare>
std::optional<Answer> Block(const Napi::CallbackInfo& info) {
  const Call call = prepare(info);
  if (!call) return {};
  return call();
}

using Callback = Napi::Value (*)(const Napi::CallbackInfo& info);

// Not inline: what making a function takes would be there once for each of them.
[[gnu::noinline]] inline void ExportCallback(Napi::Env env, Napi::Object exports, const char* name,
                                             Callback callback) {
  exports[name] = Napi::Function::New(env, callback, name);
}

template <ShortCall call>
void ExportShortCall(Napi::Env env, Napi::Object exports, const char* name) {
  ExportCallback(env, exports, name, Run<call>);
}

// Exports `name`, which makes the call on another thread and returns a promise.
template <PrepareCall prepare, WithoutThread without = WithoutThread::kRefuse>
void ExportPromise(Napi::Env env, Napi::Object exports, const char* name) {
  ExportCallback(env, exports, name, Start<prepare, without>);
}

// Exports `name`, which returns a promise, and `name`Sync, which blocks: one body serves both.
template <PrepareCall prepare, WithoutThread without = WithoutThread::kRefuse>
void ExportSlowCall(Napi::Env env, Napi::Object exports, const char* name) {
  ExportPromise<prepare, without>(env, exports, name);
  ExportShortCall<Block<prepare>>(env, exports, (std::string(name) + "Sync").c_str());
}
