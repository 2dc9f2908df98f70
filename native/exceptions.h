#pragma once

#include <napi.h>

// What the last call of Node-API threw, which then is no longer pending; null where it threw
// nothing. Outside a function that JavaScript calls, a pending exception would be thrown by the
// next one.
inline napi_value TakeException(napi_env env) {
  bool is_pending = false;
  napi_value error = nullptr;
  if (napi_is_exception_pending(env, &is_pending) != napi_ok || !is_pending) return nullptr;
  if (napi_get_and_clear_last_exception(env, &error) != napi_ok) return nullptr;
  return error;
}
