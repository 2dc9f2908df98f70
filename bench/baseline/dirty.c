// dirty HWPT IOVA LENGTH: for every number on standard input, so many readings of the dirty pages
// of that range, a bit for each page of 4 KiB, of a page table of the iommufd that is descriptor 3;
// prints the nanoseconds of each as a JSON object. bench/dirty.ts makes its own in between.

#include <err.h>
#include <linux/iommufd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>

enum { IOMMUFD = 3, PAGE = 4096 };

static uint64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

int main(int count, char** arguments) {
  if (count != 4) errx(2, "usage: dirty HWPT IOVA LENGTH");
  struct iommu_hwpt_get_dirty_bitmap get = {
      .size = sizeof(get),
      .hwpt_id = (uint32_t)strtoul(arguments[1], NULL, 0),
      .iova = strtoull(arguments[2], NULL, 0),
      .length = strtoull(arguments[3], NULL, 0),
      .page_size = PAGE,
  };
  const size_t words = (get.length / PAGE + 63) / 64;
  for (int rounds; scanf("%d", &rounds) == 1; fflush(stdout)) {
    for (int round = 0; round < rounds; round++) {
      const uint64_t start = now();
      uint64_t* const bitmap = calloc(words, sizeof(*bitmap));
      if (bitmap == NULL) err(1, "calloc");
      get.data = (uintptr_t)bitmap;
      if (ioctl(IOMMUFD, IOMMU_HWPT_GET_DIRTY_BITMAP, &get)) err(1, "IOMMU_HWPT_GET_DIRTY_BITMAP");
      free(bitmap);
      printf("{\"ns\": %lu}\n", now() - start);
    }
  }
  return 0;
}
