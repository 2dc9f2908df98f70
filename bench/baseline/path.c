// path <sysfs device> <folder of nodes>: for every number on standard input, so many rounds of the
// system calls that open and close an edu, against nodes that refuse every ioctl; prints the
// nanoseconds of each as a JSON object a line. bench/path.ts makes its own rounds in between.

#include <limits.h>
#include <linux/iommufd.h>
#include <linux/vfio.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "cdev.h"

enum { REGIONS = 9, IRQS = 5 };

static uint64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static int refused;

static void ask(int fd, unsigned long request, void* arg) {
  refused += ioctl(fd, request, arg) < 0;
}

static void read_infos(int device) {
  struct vfio_device_info head = {.argsz = sizeof(head)};
  ask(device, VFIO_DEVICE_GET_INFO, &head);
  for (uint32_t index = 0; index < REGIONS; index++) {
    struct vfio_region_info region = {.argsz = sizeof(region), .index = index};
    ask(device, VFIO_DEVICE_GET_REGION_INFO, &region);
  }
  for (uint32_t index = 0; index < IRQS; index++) {
    struct vfio_irq_info irq = {.argsz = sizeof(irq), .index = index};
    ask(device, VFIO_DEVICE_GET_IRQ_INFO, &irq);
  }
}

static uint64_t round_trip(const char* sysfs_device, const char* nodes) {
  char path[PATH_MAX];
  const uint64_t start = now();
  const struct cdev cdev = find_cdev(sysfs_device);
  snprintf(path, sizeof(path), "%.3000s/vfio/devices/%s", nodes, cdev.name);
  const int device = open_node(path, cdev.numbers);
  snprintf(path, sizeof(path), "%.3000s/iommu", nodes);
  const int iommufd = open_node(path, cdev.numbers);
  struct vfio_device_bind_iommufd bind = {.argsz = sizeof(bind), .iommufd = iommufd};
  ask(device, VFIO_DEVICE_BIND_IOMMUFD, &bind);
  read_infos(device);
  struct iommu_ioas_alloc alloc = {.size = sizeof(alloc)};
  ask(iommufd, IOMMU_IOAS_ALLOC, &alloc);
  struct vfio_device_attach_iommufd_pt attach = {.argsz = sizeof(attach)};
  ask(device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach);
  close(device);
  close(iommufd);
  return now() - start;
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  for (int rounds; scanf("%d", &rounds) == 1; fflush(stdout)) {
    for (int round = 0; round < rounds; round++) {
      printf("{\"ns\": %lu}\n", round_trip(argv[1], argv[2]));
    }
  }
  return refused == 0;
}
