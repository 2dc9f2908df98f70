#pragma once

#include <fcntl.h>
#include <sys/ioctl.h>

#include <cerrno>

// One system call, made again when a signal interrupted it: the result, or -errno. What it says it
// transferred is less than 2^31 bytes, because its caller asked for no more.
template <typename SystemCall>
int RetryOnSignal(SystemCall call) {
  for (;;) {
    const auto result = call();
    if (result >= 0) return static_cast<int>(result);
    if (errno != EINTR) return -errno;
  }
}

// One ioctl with the address of its argument, or without one: the result, or -errno.
inline int Ioctl(int fd, unsigned long request, const void* argument = nullptr) {
  return RetryOnSignal([&] { return ioctl(fd, request, argument); });
}

// One ioctl whose argument is a number.
inline int Ioctl(int fd, unsigned long request, unsigned long number) {
  return RetryOnSignal([&] { return ioctl(fd, request, number); });
}

// -errno of one of several system calls that a function makes, and which of them that was: errnos
// are below 4096. JavaScript has their names.
inline int FailedStep(int step, int error) { return -(error + 4096 * step); }

// Another descriptor of the same open file, or -errno.
inline int Duplicate(int fd) {
  return RetryOnSignal([&] { return fcntl(fd, F_DUPFD_CLOEXEC, 0); });
}
