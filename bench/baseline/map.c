// map: for every number on standard input, so many rounds of 500 maps of 4 KiB and their
// unmappings, in a row; prints the nanoseconds of a pair as a JSON object a round. With the iommufd
// of iommufd.c, as bench/map.ts, which makes its own rounds in between.

#include <err.h>
#include <linux/iommufd.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <time.h>

enum { PAIRS = 500 };

static char page[4096];

static uint64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void map_and_unmap(void) {
  struct iommu_ioas_map map = {
      .size = sizeof(map),
      .flags = IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE,
      .ioas_id = 1,
      .user_va = (uintptr_t)page,
      .length = sizeof(page),
  };
  if (ioctl(0, IOMMU_IOAS_MAP, &map)) err(1, "IOMMU_IOAS_MAP");
  struct iommu_ioas_unmap unmap = {
      .size = sizeof(unmap), .ioas_id = 1, .iova = map.iova, .length = sizeof(page)};
  if (ioctl(0, IOMMU_IOAS_UNMAP, &unmap)) err(1, "IOMMU_IOAS_UNMAP");
}

int main(void) {
  for (int rounds; scanf("%d", &rounds) == 1; fflush(stdout)) {
    for (int round = 0; round < rounds; round++) {
      const uint64_t start = now();
      for (int pair = 0; pair < PAIRS; pair++) map_and_unmap();
      printf("{\"ns\": %lu}\n", (now() - start) / PAIRS);
    }
  }
  return 0;
}
