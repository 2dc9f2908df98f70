// Preloaded into a program by test/support/fail_nth.ts: has the kernel fail the n-th allocation
// that it makes in calls on VFIO's and iommufd's descriptors, counted over all of them from the
// moment on at which the program says so. The program and this share a file of three words.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

// The allocation to fail, counted from the next call on; 0 for none. Then whether it failed, and
// how many calls were made meanwhile.
static volatile uint32_t* control;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void map_control(void) {
  const char* const path = getenv("FAIL_NTH_CONTROL");
  if (path == NULL) return;
  const int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
  if (fd < 0) abort();
  void* const shared =
      (void*)syscall(SYS_mmap, NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (shared == MAP_FAILED) abort();
  syscall(SYS_close, fd);
  control = shared;
}

static int is_ours(const char* path) {
  return strncmp(path, "/dev/iommu", 10) == 0 || strncmp(path, "/dev/vfio", 9) == 0 ||
         strstr(path, "[vfio") != NULL || strstr(path, "[eventfd]") != NULL;
}

static int is_armed(void) { return control != NULL && control[0] != 0; }

static int is_our_fd(int fd) {
  char link[64];
  char target[PATH_MAX];
  snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
  const long length = syscall(SYS_readlinkat, AT_FDCWD, link, target, sizeof(target) - 1);
  if (length < 0) return 0;
  target[length] = '\0';
  return is_ours(target);
}

// One system call, in which an allocation may fail. Nothing between the two writes allocates.
static long make(long number, long a, long b, long c, long d, long e, long f) {
  pthread_mutex_lock(&lock);
  const uint32_t nth = control[0];
  const int file =
      (int)syscall(SYS_openat, AT_FDCWD, "/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
  if (file < 0) abort();
  char text[16] = "";
  const int length = snprintf(text, sizeof(text), "%u", nth);
  if (nth != 0 && syscall(SYS_write, file, text, length) != length) abort();
  const long result = syscall(number, a, b, c, d, e, f);
  const int error = errno;
  memset(text, 0, sizeof(text));
  if (syscall(SYS_pread64, file, text, sizeof(text) - 1, 0L) < 0) abort();
  if (syscall(SYS_pwrite64, file, "0", 1, 0L) != 1) abort();
  syscall(SYS_close, file);
  control[2]++;
  if (nth != 0) {
    control[0] = (uint32_t)strtoul(text, NULL, 10);
    if (control[0] == 0) control[1] = 1;
  }
  pthread_mutex_unlock(&lock);
  errno = error;
  return result;
}

int ioctl(int fd, unsigned long request, ...) {
  va_list rest;
  va_start(rest, request);
  const long argument = (long)va_arg(rest, void*);
  va_end(rest);
  if (is_armed() && is_our_fd(fd)) return (int)make(SYS_ioctl, fd, request, argument, 0, 0, 0);
  return (int)syscall(SYS_ioctl, fd, request, argument);
}

static int open_path(const char* path, int flags, int mode) {
  if (is_armed() && is_ours(path)) {
    return (int)make(SYS_openat, AT_FDCWD, (long)path, flags, mode, 0, 0);
  }
  return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int open(const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const int mode = (flags & O_CREAT) ? va_arg(rest, int) : 0;
  va_end(rest);
  return open_path(path, flags, mode);
}

int open64(const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const int mode = (flags & O_CREAT) ? va_arg(rest, int) : 0;
  va_end(rest);
  return open_path(path, flags, mode);
}

// What the two are called where the compiler knows that no mode follows.
int __open_2(const char* path, int flags) { return open_path(path, flags, 0); }
int __open64_2(const char* path, int flags) { return open_path(path, flags, 0); }

int close(int fd) {
  if (is_armed() && is_our_fd(fd)) return (int)make(SYS_close, fd, 0, 0, 0, 0, 0);
  return (int)syscall(SYS_close, fd);
}

// Where the region is that was mapped last.
static void* mapped = MAP_FAILED;

static void* map(void* address, size_t length, int protection, int flags, int fd, off64_t offset) {
  if (fd >= 0 && is_armed() && is_our_fd(fd)) {
    mapped = (void*)make(SYS_mmap, (long)address, (long)length, protection, flags, fd, offset);
    return mapped;
  }
  return (void*)syscall(SYS_mmap, address, length, protection, flags, fd, offset);
}

void* mmap(void* address, size_t length, int protection, int flags, int fd, off_t offset) {
  return map(address, length, protection, flags, fd, offset);
}

void* mmap64(void* address, size_t length, int protection, int flags, int fd, off64_t offset) {
  return map(address, length, protection, flags, fd, offset);
}

int munmap(void* address, size_t length) {
  if (address == mapped && is_armed()) {
    return (int)make(SYS_munmap, (long)address, (long)length, 0, 0, 0, 0);
  }
  return (int)syscall(SYS_munmap, address, length);
}

ssize_t pread64(int fd, void* bytes, size_t length, off64_t offset) {
  if (is_armed() && is_our_fd(fd)) {
    return make(SYS_pread64, fd, (long)bytes, (long)length, offset, 0, 0);
  }
  return syscall(SYS_pread64, fd, bytes, length, offset);
}

ssize_t pwrite64(int fd, const void* bytes, size_t length, off64_t offset) {
  if (is_armed() && is_our_fd(fd)) {
    return make(SYS_pwrite64, fd, (long)bytes, (long)length, offset, 0, 0);
  }
  return syscall(SYS_pwrite64, fd, bytes, length, offset);
}

// Which device is behind a descriptor.
int statx(int fd, const char* path, int flags, unsigned int mask, struct statx* told) {
  if (fd >= 0 && is_armed() && is_our_fd(fd)) {
    return (int)make(SYS_statx, fd, (long)path, flags, mask, (long)told, 0);
  }
  return (int)syscall(SYS_statx, fd, path, flags, mask, told);
}

// The event that an interrupt is tied to.
int eventfd(unsigned int count, int flags) {
  if (is_armed()) return (int)make(SYS_eventfd2, count, flags, 0, 0, 0, 0);
  return (int)syscall(SYS_eventfd2, count, flags);
}
