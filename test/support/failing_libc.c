// Preloaded into a program by test/support/failing_libc.ts: calls of the C library fail where the
// program says so by its environment.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// NO_THREADS: the threads that the addon makes for slow calls, which are those of 256 KiB of stack.
int pthread_create(pthread_t* thread, const pthread_attr_t* attr, void* (*start)(void*),
                   void* arg) {
  size_t stack = 0;
  if (attr != NULL) pthread_attr_getstacksize(attr, &stack);
  if (stack == 256 * 1024 && getenv("NO_THREADS") != NULL) return EAGAIN;
  int (*real)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*) =
      dlsym(RTLD_NEXT, "pthread_create");
  return real(thread, attr, start, arg);
}

// NO_MUNMAP: of so many bytes.
int munmap(void* address, size_t length) {
  const char* refused = getenv("NO_MUNMAP");
  if (refused != NULL && strtoul(refused, NULL, 10) == length) {
    errno = ENOMEM;
    return -1;
  }
  int (*real)(void*, size_t) = dlsym(RTLD_NEXT, "munmap");
  return real(address, length);
}

// NO_CLOSE: of a descriptor of the file of that name, which is closed nevertheless, as by the
// kernel.
int close(int fd) {
  const char* refused = getenv("NO_CLOSE");
  char link[64];
  char target[PATH_MAX] = "";
  if (refused != NULL) {
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    if (readlink(link, target, sizeof(target) - 1) < 0) target[0] = '\0';
  }
  int (*real)(int) = dlsym(RTLD_NEXT, "close");
  const int result = real(fd);
  if (refused == NULL || strcmp(refused, target) != 0) return result;
  errno = EIO;
  return -1;
}

// NO_MEMORY: of so many bytes or more. Not by dlsym, which itself allocates.
extern void* __libc_calloc(size_t count, size_t size);
void* calloc(size_t count, size_t size) {
  const char* refused = getenv("NO_MEMORY");
  if (refused != NULL && count * size >= strtoul(refused, NULL, 10)) {
    errno = ENOMEM;
    return NULL;
  }
  return __libc_calloc(count, size);
}
