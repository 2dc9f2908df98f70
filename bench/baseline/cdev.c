#define _GNU_SOURCE
#include "cdev.h"

#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

struct cdev find_cdev(const char* sysfs_device) {
  char path[4096];
  snprintf(path, sizeof(path), "%s/vfio-dev", sysfs_device);
  DIR* dir = opendir(path);
  if (!dir) err(1, "%s", path);
  struct cdev cdev = {};
  for (struct dirent* entry; (entry = readdir(dir));) {
    if (strstr(entry->d_name, "vfio")) {
      snprintf(cdev.name, sizeof(cdev.name), "%.60s", entry->d_name);
    }
  }
  closedir(dir);
  if (!cdev.name[0]) errx(1, "%s: no cdev", path);
  char file[8192];
  snprintf(file, sizeof(file), "%s/%s/dev", path, cdev.name);
  cdev.numbers = read_numbers(file);
  return cdev;
}

dev_t read_numbers(const char* file) {
  const int fd = open(file, O_RDONLY | O_CLOEXEC);
  if (fd < 0) err(1, "%s", file);
  char text[64] = {};
  if (read(fd, text, sizeof(text) - 1) < 0) err(1, "%s", file);
  close(fd);
  unsigned major;
  unsigned minor;
  if (sscanf(text, "%u:%u", &major, &minor) != 2) errx(1, "%s: '%s'", file, text);
  return makedev(major, minor);
}

int open_cdev(const struct cdev* cdev) {
  char path[128];
  snprintf(path, sizeof(path), "/dev/vfio/devices/%s", cdev->name);
  return open_node(path, cdev->numbers);
}

int open_node(const char* path, dev_t numbers) {
  const int fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) err(1, "%s", path);
  struct stat st;
  if (fstat(fd, &st)) err(1, "%s", path);
  if (!S_ISCHR(st.st_mode) || st.st_rdev != numbers) errx(1, "%s is another device", path);
  return fd;
}

int open_iommufd(void) {
  const int fd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
  if (fd < 0) err(1, "/dev/iommu");
  return fd;
}

static void ioctl_or_exit(int fd, unsigned long request, void* arg, const char* name) {
  if (ioctl(fd, request, arg) < 0) err(1, "%s", name);
}

uint32_t bind_iommufd(int device, int iommufd) {
  struct vfio_device_bind_iommufd arg = {.argsz = sizeof(arg), .iommufd = iommufd};
  ioctl_or_exit(device, VFIO_DEVICE_BIND_IOMMUFD, &arg, "VFIO_DEVICE_BIND_IOMMUFD");
  return arg.out_devid;
}

uint32_t alloc_ioas(int iommufd) {
  struct iommu_ioas_alloc arg = {.size = sizeof(arg)};
  ioctl_or_exit(iommufd, IOMMU_IOAS_ALLOC, &arg, "IOMMU_IOAS_ALLOC");
  return arg.out_ioas_id;
}

uint32_t attach_ioas(int device, uint32_t ioas) {
  struct vfio_device_attach_iommufd_pt arg = {.argsz = sizeof(arg), .pt_id = ioas};
  ioctl_or_exit(device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &arg, "VFIO_DEVICE_ATTACH_IOMMUFD_PT");
  return arg.pt_id;
}

// argsz is the first field of all three. Answers 0 where the kernel does not know the index.
static int get_info(int device, unsigned long request, union info* info, uint32_t room,
                    const char* name) {
  for (;;) {
    info->device.argsz = room;
    if (ioctl(device, request, info) < 0) {
      if (errno == EINVAL) return 0;
      err(1, "%s", name);
    }
    if (info->device.argsz <= room) return 1;
    room = info->device.argsz;
    if (room > sizeof(*info)) errx(1, "%s wants %u bytes", name, room);
  }
}

void get_device_info(int device, union info* info) {
  memset(&info->device, 0, sizeof(info->device));
  if (!get_info(device, VFIO_DEVICE_GET_INFO, info, sizeof(info->device), "VFIO_DEVICE_GET_INFO")) {
    errx(1, "VFIO_DEVICE_GET_INFO: EINVAL");
  }
}

int get_region_info(int device, uint32_t index, union info* info) {
  memset(&info->region, 0, sizeof(info->region));
  info->region.index = index;
  return get_info(device, VFIO_DEVICE_GET_REGION_INFO, info, sizeof(info->region),
                  "VFIO_DEVICE_GET_REGION_INFO");
}

int get_irq_info(int device, uint32_t index, union info* info) {
  memset(&info->irq, 0, sizeof(info->irq));
  info->irq.index = index;
  return get_info(device, VFIO_DEVICE_GET_IRQ_INFO, info, sizeof(info->irq),
                  "VFIO_DEVICE_GET_IRQ_INFO");
}

void read_all_info(int device, union info* info) {
  get_device_info(device, info);
  const struct vfio_device_info head = info->device;
  for (uint32_t index = 0; index < head.num_regions; index++) {
    get_region_info(device, index, info);
  }
  for (uint32_t index = 0; index < head.num_irqs; index++) get_irq_info(device, index, info);
}
