#ifndef VFIO_NATIVE_HOT_H_
#define VFIO_NATIVE_HOT_H_

// Included first by the sources of what a driver calls a million times a second. All others are
// compiled for size, which takes a third of the addon away; here that would cost up to three times
// the time (docs/performance.md). Clang, which has no such pragma, compiles all for size.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O2")
#endif

#endif  // VFIO_NATIVE_HOT_H_
