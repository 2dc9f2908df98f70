// Preloaded into bench/map.ts and bench/baseline/map.c: an iommufd that maps everything at once.
// Each of its ioctls makes one short system call, for the way into a kernel and back.

#define _GNU_SOURCE
#include <linux/iommufd.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int ioctl(int fd, unsigned long request, ...) {
  va_list arguments;
  va_start(arguments, request);
  void* arg = va_arg(arguments, void*);
  va_end(arguments);
  if (request == IOMMU_IOAS_MAP) {
    syscall(SYS_getppid);
    ((struct iommu_ioas_map*)arg)->iova = 0xfffff000;
    return 0;
  }
  if (request == IOMMU_IOAS_UNMAP) {
    syscall(SYS_getppid);
    return 0;
  }
  return (int)syscall(SYS_ioctl, fd, request, arg);
}
