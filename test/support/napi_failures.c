// Linked into a copy of the addon by test/support/failing_napi.ts, between it and Node-API: makes
// calls of Node-API answer as they do while the environment ends. The test says by the environment
// which: NAPI_FAIL_FROM is the first that fails, counted from when the variable was written last,
// and NAPI_FAIL_COUNT how many do. NAPI_FAILED has the name of the first that did.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { kPendingException = 10 };

static char last_from[32];
static long calls;

static int ShouldFail(const char* name) {
  const char* from = getenv("NAPI_FAIL_FROM");
  if (from == NULL) return 0;
  if (strcmp(from, last_from) != 0) {
    strncpy(last_from, from, sizeof(last_from) - 1);
    calls = 0;
  }
  calls++;
  const long first = atol(from);
  if (calls < first || calls >= first + atol(getenv("NAPI_FAIL_COUNT"))) return 0;
  if (calls == first) setenv("NAPI_FAILED", name, 1);
  return 1;
}

// Passes on whatever the arguments are: none has more than eight integers and pointers, or more
// than one double, and the calling conventions of x86-64 and arm64 let a function have more than it
// takes.
typedef int AnyCall(void*, void*, void*, void*, void*, void*, void*, void*, double);

#define WRAP(name)                                                                           \
  AnyCall __real_##name;                                                                     \
  int __wrap_##name(void* a, void* b, void* c, void* d, void* e, void* f, void* g, void* h,  \
                    double x) {                                                              \
    return ShouldFail(#name) ? kPendingException : __real_##name(a, b, c, d, e, f, g, h, x); \
  }

// WRAPPED is a file of WRAP(…), one for each function that the addon calls.
#include WRAPPED
