// Preloaded into a program by test/faults/shim.ts: the n-th time that the addon calls a function of
// the C library, that fails. Calls of Node's own, and of all else in the process, are left alone.
// Which call it is stands in a file that is mapped here and that the program writes. CALLS is a
// file of CALL(…), one for each function that the addon calls and that can fail.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

// How a call fails.
enum Kind {
  kMinusOne,  // -1, and errno
  kNull,      // a null pointer, and errno
  kNumber,    // the errno itself
  kClose,     // is made, and says then that it failed: as close does in the kernel
  kThrow,     // std::bad_alloc
};

// Who calls: the addon itself, or libuv for the addon.
enum Caller { kAddon, kLibuv };

enum {
#define CALL(name, kind, caller) kIndexOf_##name,
#include CALLS
#undef CALL
  kCalls
};

// As in shim.ts. All numbers have 64 bits, which makes the layout plain.
struct Control {
  int64_t begin, end;  // where the addon's code is; nothing is counted while both are 0
  int64_t fails;       // the index of the function that is to fail, or -1
  int64_t nth;         // the first call that fails, from 1 on
  int64_t error;
  int64_t failed;    // the calls that failed
  int64_t argument;  // the second argument of the last of them: an ioctl's request
  int64_t from;      // where it was called from, behind `begin`
  int64_t counts[kCalls];
};

static struct Control* control;

__attribute__((constructor)) static void Map(void) {
  const char* path = getenv("VFIO_FAULTS_CONTROL");
  if (path == NULL) return;
  int (*real_open)(const char*, int, ...) = dlsym(RTLD_NEXT, "open");
  void* (*real_mmap)(void*, size_t, int, int, int, off_t) = dlsym(RTLD_NEXT, "mmap");
  const int fd = real_open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) abort();
  void* mapped = real_mmap(NULL, sizeof(struct Control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (mapped == MAP_FAILED) abort();
  int (*real_close)(int) = dlsym(RTLD_NEXT, "close");
  real_close(fd);
  control = mapped;
}

static int IsAddons(int64_t address) { return address >= control->begin && address < control->end; }

// libuv is in Node's own program, a few frames below what the addon called of it.
static int64_t AddonBelow(void) {
  void* frames[7];
  const int count = backtrace(frames, 7);
  for (int at = 2; at < count; at++) {
    if (IsAddons((int64_t)frames[at])) return (int64_t)frames[at];
  }
  return 0;
}

// Whether this call, by the code at `from`, is to fail.
static int Counts(int index, enum Caller caller, int64_t from, int64_t argument) {
  if (control == NULL || control->end == 0) return 0;
  // When it takes a descriptor away libuv ends the process where that fails, which it cannot.
  if (index == kIndexOf_epoll_ctl && argument != EPOLL_CTL_ADD) return 0;
  if (!IsAddons(from)) {
    if (caller != kLibuv) return 0;
    from = AddonBelow();
    if (from == 0) return 0;
  }
  const int64_t count = __atomic_add_fetch(&control->counts[index], 1, __ATOMIC_SEQ_CST);
  if (control->fails != index || count != control->nth) return 0;
  control->argument = argument;
  control->from = from - control->begin;
  __atomic_add_fetch(&control->failed, 1, __ATOMIC_SEQ_CST);
  return 1;
}

// Of a function that was looked up already, without locks or memory.
typedef long AnyCall(long, long, long, long, long, long, long);

static void ThrowBadAlloc(void) {
  void (*throw_bad_alloc)(void) = dlsym(RTLD_DEFAULT, "_ZSt17__throw_bad_allocv");
  throw_bad_alloc();
}

// calloc is called by dlsym itself, and by the linker before there is anything to look up.
extern void* __libc_calloc(size_t, size_t);
static long FirstCalloc(long count, long size, long c, long d, long e, long f, long g) {
  (void)c, (void)d, (void)e, (void)f, (void)g;
  return (long)__libc_calloc((size_t)count, (size_t)size);
}

static AnyCall* Find(const char* name) {
  if (__builtin_strcmp(name, "calloc") == 0) return FirstCalloc;
  return (AnyCall*)dlsym(RTLD_NEXT, name);
}

// The arguments are passed on whatever they are: the calling conventions of x86-64 and arm64 let a
// function have more than it takes, and variable arguments go where the others do. Headers declare
// the functions as they are: these have their names for the linker alone.
#define CALL(name, kind, caller)                                                           \
  AnyCall Failing_##name __asm__(#name);                                                   \
  long Failing_##name(long a, long b, long c, long d, long e, long f, long g) {            \
    static AnyCall* real;                                                                  \
    if (real == NULL) real = Find(#name);                                                  \
    const int fails =                                                                      \
        Counts(kIndexOf_##name, caller, (int64_t)__builtin_return_address(0), (int64_t)b); \
    if (!fails) return real(a, b, c, d, e, f, g);                                          \
    if (kind == kClose) real(a, b, c, d, e, f, g);                                         \
    if (kind == kThrow) ThrowBadAlloc();                                                   \
    if (kind == kNumber) return (long)control->error;                                      \
    errno = (int)control->error;                                                           \
    return kind == kNull ? 0 : -1;                                                         \
  }
#include CALLS
