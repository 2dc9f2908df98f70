// dma <kind> <sysfs device>: for every number on standard input, so many rounds of
//   page     map and unmap 4 KiB, ten times, for what one takes
//   file     the same by the file of the memory, IOMMU_IOAS_MAP_FILE, as the library does
//   threads  map 64 buffers of 1 MiB, a thread each; their unmapping is not timed
//   large    a memfd of 1 GiB, mapped with MAP_POPULATE, then for the device
//   huge     the same with pages of 2 MiB
// prints the nanoseconds of each as a JSON object a line. bench/dma.ts makes its own rounds in
// between.

#define _GNU_SOURCE
#include <err.h>
#include <linux/iommufd.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "cdev.h"

enum { PAIRS = 10, BUFFERS = 64, BUFFER = 1 << 20, LARGE = 1 << 30 };

static int iommufd;
static uint32_t ioas;
static char* buffers[BUFFERS];
static char* page;
static int page_file;

static uint64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static uint64_t map(const char* data, uint64_t size) {
  struct iommu_ioas_map arg = {
      .size = sizeof(arg),
      .flags = IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE,
      .ioas_id = ioas,
      .user_va = (uintptr_t)data,
      .length = size,
  };
  if (ioctl(iommufd, IOMMU_IOAS_MAP, &arg)) err(1, "IOMMU_IOAS_MAP");
  return arg.iova;
}

// As the kernel has it since 6.13; the headers may be older.
struct map_file {
  uint32_t size;
  uint32_t flags;
  uint32_t ioas_id;
  int32_t fd;
  uint64_t start;
  uint64_t length;
  uint64_t iova;
};

static uint64_t map_file(int fd, uint64_t size) {
  struct map_file arg = {
      .size = sizeof(arg),
      .flags = IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE,
      .ioas_id = ioas,
      .fd = fd,
      .length = size,
  };
  if (ioctl(iommufd, _IO(IOMMUFD_TYPE, 0x8f), &arg)) err(1, "IOMMU_IOAS_MAP_FILE");
  return arg.iova;
}

static void unmap(uint64_t iova, uint64_t size) {
  struct iommu_ioas_unmap arg = {
      .size = sizeof(arg), .ioas_id = ioas, .iova = iova, .length = size};
  if (ioctl(iommufd, IOMMU_IOAS_UNMAP, &arg)) err(1, "IOMMU_IOAS_UNMAP");
}

static char* memory(uint64_t size, unsigned flags, int populate, int* file) {
  const int fd = memfd_create("baseline", MFD_CLOEXEC | flags);
  if (fd < 0 || ftruncate(fd, (off_t)size)) err(1, "memfd_create");
  char* data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | populate, fd, 0);
  if (data == MAP_FAILED) err(1, "mmap");
  if (file == NULL)
    close(fd);
  else
    *file = fd;
  return data;
}

static uint64_t time_page(void) {
  const uint64_t start = now();
  for (int pair = 0; pair < PAIRS; pair++) unmap(map(page, 4096), 4096);
  return (now() - start) / PAIRS;
}

static uint64_t time_file(void) {
  const uint64_t start = now();
  for (int pair = 0; pair < PAIRS; pair++) unmap(map_file(page_file, 4096), 4096);
  return (now() - start) / PAIRS;
}

static void* map_one(void* data) {
  map(data, BUFFER);
  return NULL;
}

static uint64_t time_threads(void) {
  pthread_t threads[BUFFERS];
  const uint64_t start = now();
  for (int at = 0; at < BUFFERS; at++) {
    if (pthread_create(&threads[at], NULL, map_one, buffers[at])) errx(1, "pthread_create");
  }
  for (int at = 0; at < BUFFERS; at++) pthread_join(threads[at], NULL);
  const uint64_t took = now() - start;
  unmap(0, UINT64_MAX);
  return took;
}

static uint64_t time_memory(unsigned flags) {
  const uint64_t start = now();
  char* data = memory(LARGE, flags, MAP_POPULATE, NULL);
  const uint64_t iova = map(data, LARGE);
  const uint64_t took = now() - start;
  unmap(iova, LARGE);
  munmap(data, LARGE);
  return took;
}

static uint64_t time_large(void) { return time_memory(0); }
static uint64_t time_huge(void) { return time_memory(MFD_HUGETLB | (21u << 26)); }

static const struct {
  const char* name;
  uint64_t (*time)(void);
} kinds[] = {{"page", time_page},
             {"file", time_file},
             {"threads", time_threads},
             {"large", time_large},
             {"huge", time_huge}};

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const struct cdev cdev = find_cdev(argv[2]);
  const int device = open_cdev(&cdev);
  iommufd = open_iommufd();
  bind_iommufd(device, iommufd);
  ioas = alloc_ioas(iommufd);
  attach_ioas(device, ioas);
  page = memory(4096, 0, MAP_POPULATE, &page_file);
  for (int at = 0; at < BUFFERS; at++) buffers[at] = memory(BUFFER, 0, MAP_POPULATE, NULL);
  for (size_t kind = 0; kind < sizeof(kinds) / sizeof(*kinds); kind++) {
    if (strcmp(kinds[kind].name, argv[1])) continue;
    for (int rounds; scanf("%d", &rounds) == 1; fflush(stdout)) {
      for (int round = 0; round < rounds; round++) printf("{\"ns\": %lu}\n", kinds[kind].time());
    }
    return 0;
  }
  return 2;
}
