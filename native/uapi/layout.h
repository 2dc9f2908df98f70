#pragma once

#include <cstddef>

// Holds one of our structs to the kernel's layout at compile time. test/unit/uapi.test.ts compares
// the same structs and numbers with the kernel's own headers.
#define UAPI_SIZE(type, bytes) static_assert(sizeof(type) == (bytes))
#define UAPI_FIELD(type, field, at) static_assert(offsetof(type, field) == (at))
