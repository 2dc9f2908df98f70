#pragma once

#include <setjmp.h>

#include <cerrno>
#include <cstddef>

// Device memory that is mapped can vanish under an access: memory decoding is switched off, the
// device enters a low-power state, it is pulled out. The access then raises SIGBUS, which would end
// the process. A guarded access ends with -EIO instead.

// On x86 the compiler's own setjmp, since that of libc takes as long as the rest of an access.
// Neither saves the signal mask, a system call, which the handler, with SA_NODEFER, does not
// change. On arm64 clang has none of its own, and GCC's comes back with a wrong frame: after a
// fault the stack protector ended the process (npm run test:arm64).
#if defined(__SANITIZE_THREAD__)
// ThreadSanitizer blocks every signal while a handler runs, and follows the jumps of libc alone.
using Escape = sigjmp_buf;
#define VFIO_SET_ESCAPE(escape) sigsetjmp(escape, 1)
#define VFIO_TAKE_ESCAPE(escape) siglongjmp(escape, 1)
#elif !defined(__x86_64__)
using Escape = sigjmp_buf;
#define VFIO_SET_ESCAPE(escape) sigsetjmp(escape, 0)
#define VFIO_TAKE_ESCAPE(escape) siglongjmp(escape, 1)
#else
using Escape = void* [5];
#define VFIO_SET_ESCAPE(escape) __builtin_setjmp(escape)
#define VFIO_TAKE_ESCAPE(escape) __builtin_longjmp(escape, 1)
#endif

// One access that may fault, on the stack of its thread.
struct FaultGuard {
  const volatile std::byte* start;
  size_t size;
  Escape escape;
};

// The access that this thread makes now. Each thread has its own, since a fault is raised on the
// thread that made it. Initial-exec: the handler reads it in threads that never made an access, and
// any other model would have it call malloc there, in the middle of whatever was interrupted.
extern constinit thread_local FaultGuard* volatile armed_guard
    __attribute__((tls_model("initial-exec")));

// Has the process handle SIGBUS by us, where it does not: signal handlers belong to it, and not to
// a thread or an environment. For each mapping anew, since the program may have put another handler
// in the place of ours meanwhile. 0, or -errno.
int InstallFaultHandler();

// Makes an access within `size` bytes from `start`. 0, or -EIO after a fault, which leaves the
// access half done. A fault leaves `access` by a jump: it must hold nothing that needs a
// destructor.
template <typename Access>
[[gnu::noinline]] int Guarded(const volatile std::byte* start, size_t size, const Access& access) {
  FaultGuard guard;
  guard.start = start;
  guard.size = size;
  if (VFIO_SET_ESCAPE(guard.escape) != 0) return -EIO;
  armed_guard = &guard;
  access();
  armed_guard = nullptr;
  return 0;
}
