// The least that a call from JavaScript into an addon costs: no argument, nothing done, no result.
// bench/mmio.ts compiles it and compares accesses of registers with it.

#include <node_api.h>
#include <stddef.h>

static napi_value noop(napi_env env, napi_callback_info info) {
  (void)env;
  (void)info;
  return NULL;
}

napi_value napi_register_module_v1(napi_env env, napi_value exports) {
  napi_value function = NULL;
  napi_create_function(env, "noop", NAPI_AUTO_LENGTH, noop, NULL, &function);
  napi_set_named_property(env, exports, "noop", function);
  return exports;
}
