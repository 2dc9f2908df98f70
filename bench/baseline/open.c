// open <sysfs device>: for every number on standard input, so many rounds from the sysfs lookup to
// the closed descriptors; prints the nanoseconds of each step as a JSON object a line and round.
// bench/open.ts makes its own rounds in between.

#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "cdev.h"

enum { LOOKUP, OPEN, BIND, INFO, ATTACH, CLOSE, RELEASE, STEPS };

static const char* const names[STEPS] = {"lookup", "open",  "bind",   "info",
                                         "attach", "close", "release"};

static uint64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void read_all_info(int device) {
  static union info info;
  get_device_info(device, &info);
  const struct vfio_device_info head = info.device;
  for (uint32_t index = 0; index < head.num_regions; index++) get_region_info(device, index, &info);
  for (uint32_t index = 0; index < head.num_irqs; index++) get_irq_info(device, index, &info);
}

static void round_trip(const char* sysfs_device, uint64_t at[STEPS + 1]) {
  at[LOOKUP] = now();
  const struct cdev cdev = find_cdev(sysfs_device);
  at[OPEN] = now();
  const int device = open_cdev(&cdev);
  const int iommufd = open_iommufd();
  at[BIND] = now();
  bind_iommufd(device, iommufd);
  at[INFO] = now();
  read_all_info(device);
  at[ATTACH] = now();
  const uint32_t ioas = alloc_ioas(iommufd);
  attach_ioas(device, ioas);
  at[CLOSE] = now();
  close(device);
  at[RELEASE] = now();
  destroy(iommufd, ioas);
  close(iommufd);
  at[STEPS] = now();
}

static void print_round(const uint64_t at[STEPS + 1]) {
  for (int step = 0; step < STEPS; step++) {
    printf("%s\"%s\": %lu", step ? ", " : "{", names[step], at[step + 1] - at[step]);
  }
  printf("}\n");
}

int main(int argc, char** argv) {
  static uint64_t at[1000][STEPS + 1];
  if (argc != 2) return 2;
  for (int rounds; scanf("%d", &rounds) == 1;) {
    if (rounds > 1000) return 2;
    for (int round = 0; round < rounds; round++) round_trip(argv[1], at[round]);
    for (int round = 0; round < rounds; round++) print_round(at[round]);
    fflush(stdout);
  }
  return 0;
}
