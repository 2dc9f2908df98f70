// region <sysfs device>: opens and binds the device; for every number on standard input makes so
// many VFIO_DEVICE_GET_REGION_INFO and so many preads of 4 bytes, of BAR 0; prints the nanoseconds
// of one of each as a JSON object. bench/region.ts makes its own in between.

#include <err.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "cdev.h"

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

int main(int argc, char** argv) {
  static union info info;
  if (argc != 2) return 2;
  const struct cdev cdev = find_cdev(argv[1]);
  const int device = open_cdev(&cdev);
  bind_iommufd(device, open_iommufd());
  for (int count; scanf("%d", &count) == 1;) {
    const double start = now();
    for (int at = 0; at < count; at++) get_region_info(device, 0, &info);
    const double middle = now();
    uint32_t value;
    for (int at = 0; at < count; at++) {
      if (pread(device, &value, 4, (off_t)info.region.offset) != 4) err(1, "pread");
    }
    const double end = now();
    printf("{\"info\": %f, \"pread\": %f}\n", (middle - start) / count, (end - middle) / count);
    fflush(stdout);
  }
  return 0;
}
