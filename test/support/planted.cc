// Faults that are there to be found: scripts/check-asan.mjs and check-tsan.mjs begin with them.
// Each is a function of the addon `planted`, built with the same flags as ours.
#include <node_api.h>

#include <climits>
#include <cstdlib>
#include <thread>

namespace {

// What the compiler shall not see through.
volatile int opaque = 1;
int* volatile kept = nullptr;

void Overflow() {
  const auto size = static_cast<size_t>(7 + opaque);
  auto* bytes = static_cast<volatile char*>(std::malloc(size));
  bytes[size] = static_cast<char>(opaque);
  std::free(const_cast<char*>(bytes));
}

void UseAfterFree() {
  kept = new int(1);
  delete kept;
  opaque = *kept;
}

void Undefined() {
  int most = INT_MAX;
  most += opaque;
  opaque = most;
}

[[gnu::noinline]] void Leak() {
  kept = new int[64]{};
  kept = nullptr;
}

int raced = 0;

void Race() {
  std::thread other([] { raced += opaque; });
  raced += opaque;
  other.join();
}

template <void (*fault)()>
napi_value Make(napi_env, napi_callback_info) {
  fault();
  return nullptr;
}

void Export(napi_env env, napi_value exports, const char* name, napi_callback make) {
  napi_value function = nullptr;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, make, nullptr, &function);
  napi_set_named_property(env, exports, name, function);
}

napi_value Init(napi_env env, napi_value exports) {
  Export(env, exports, "overflow", Make<Overflow>);
  Export(env, exports, "useAfterFree", Make<UseAfterFree>);
  Export(env, exports, "undefined", Make<Undefined>);
  Export(env, exports, "leak", Make<Leak>);
  Export(env, exports, "race", Make<Race>);
  return exports;
}

}  // namespace

NAPI_MODULE(planted, Init)
