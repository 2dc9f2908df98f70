// What malloc has given out, in bytes: what bench/memory.ts counts as native heap.

#include <malloc.h>
#include <node_api.h>
#include <stddef.h>

static napi_value in_use(napi_env env, napi_callback_info info) {
  (void)info;
  const struct mallinfo2 all = mallinfo2();
  napi_value result = NULL;
  napi_create_double(env, (double)(all.uordblks + all.hblkhd), &result);
  return result;
}

napi_value napi_register_module_v1(napi_env env, napi_value exports) {
  napi_value function = NULL;
  napi_create_function(env, "inUse", NAPI_AUTO_LENGTH, in_use, NULL, &function);
  napi_set_named_property(env, exports, "inUse", function);
  return exports;
}
