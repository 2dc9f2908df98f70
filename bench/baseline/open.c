// open <backend> <sysfs device>: for every number on standard input, so many rounds from the sysfs
// lookup to the closed descriptors; prints the nanoseconds of each step as a JSON object a line and
// round. bench/open.ts makes its own rounds in between. Backends are
//   cdev    the device cdev, an iommufd and an address space
//   group   the group in a type 1 container, where attaching is a part of opening
//   compat  the same with /dev/iommu as the container

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cdev.h"
#include "group.h"

enum { LOOKUP, OPEN, BIND, INFO, ATTACH, CLOSE, STEPS };

static const char* const names[STEPS] = {"lookup", "open", "bind", "info", "attach", "close"};

static union info info;

static uint64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void cdev_round(const char* sysfs_device, uint64_t at[STEPS + 1]) {
  at[LOOKUP] = now();
  const struct cdev cdev = find_cdev(sysfs_device);
  at[OPEN] = now();
  const int device = open_cdev(&cdev);
  const int iommufd = open_iommufd();
  at[BIND] = now();
  bind_iommufd(device, iommufd);
  at[INFO] = now();
  read_all_info(device, &info);
  at[ATTACH] = now();
  const uint32_t ioas = alloc_ioas(iommufd);
  attach_ioas(device, ioas);
  at[CLOSE] = now();
  close(device);
  close(iommufd);  // and with it the address space
  at[STEPS] = now();
}

static void any_group_round(const char* sysfs_device, const char* container,
                            uint64_t at[STEPS + 1]) {
  at[LOOKUP] = now();
  const struct group_node node = find_group(sysfs_device);
  at[OPEN] = now();
  const struct group group = open_group(&node, container);
  at[BIND] = now();
  const int device = open_group_device(&group, sysfs_device);
  at[INFO] = now();
  read_all_info(device, &info);
  at[ATTACH] = at[CLOSE] = now();
  close(device);
  close_group(&group);
  at[STEPS] = now();
}

static void group_round(const char* sysfs_device, uint64_t at[STEPS + 1]) {
  any_group_round(sysfs_device, "/dev/vfio/vfio", at);
}

static void compat_round(const char* sysfs_device, uint64_t at[STEPS + 1]) {
  any_group_round(sysfs_device, "/dev/iommu", at);
}

static const struct {
  const char* name;
  void (*round)(const char* sysfs_device, uint64_t at[STEPS + 1]);
} backends[] = {{"cdev", cdev_round}, {"group", group_round}, {"compat", compat_round}};

// A step that the backend does not have is left out.
static void print_round(const uint64_t at[STEPS + 1]) {
  const char* comma = "{";
  for (int step = 0; step < STEPS; step++) {
    if (at[step + 1] == at[step]) continue;
    printf("%s\"%s\": %lu", comma, names[step], at[step + 1] - at[step]);
    comma = ", ";
  }
  printf("}\n");
}

int main(int argc, char** argv) {
  static uint64_t at[1000][STEPS + 1];
  if (argc != 3) return 2;
  for (size_t which = 0; which < sizeof(backends) / sizeof(*backends); which++) {
    if (strcmp(backends[which].name, argv[1])) continue;
    for (int rounds; scanf("%d", &rounds) == 1; fflush(stdout)) {
      if (rounds > 1000) return 2;
      for (int round = 0; round < rounds; round++) backends[which].round(argv[2], at[round]);
      for (int round = 0; round < rounds; round++) print_round(at[round]);
    }
    return 0;
  }
  return 2;
}
