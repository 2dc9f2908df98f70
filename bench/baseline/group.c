#define _GNU_SOURCE
#include "group.h"

#include <err.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cdev.h"

static const char* last_part(const char* path) { return strrchr(path, '/') + 1; }

struct group_node find_group(const char* sysfs_device) {
  char path[PATH_MAX];
  char target[PATH_MAX] = {};
  snprintf(path, sizeof(path), "%.3000s/iommu_group", sysfs_device);
  if (readlink(path, target, sizeof(target) - 1) < 0) err(1, "%s", path);
  const int group = atoi(last_part(target));
  snprintf(path, sizeof(path), "/sys/class/vfio/%d/dev", group);
  return (struct group_node){group, read_numbers(path)};
}

static int open_or_exit(const char* path) {
  const int fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) err(1, "%s", path);
  return fd;
}

struct group open_group(const struct group_node* node, const char* container) {
  char path[64];
  snprintf(path, sizeof(path), "/dev/vfio/%d", node->group);
  const struct group group = {open_node(path, node->numbers), open_or_exit(container)};
  struct vfio_group_status status = {.argsz = sizeof(status)};
  if (ioctl(group.fd, VFIO_GROUP_GET_STATUS, &status)) err(1, "VFIO_GROUP_GET_STATUS");
  if (!(status.flags & VFIO_GROUP_FLAGS_VIABLE)) errx(1, "%s is not viable", path);
  if (ioctl(group.container, VFIO_GET_API_VERSION) != VFIO_API_VERSION) {
    errx(1, "%s has another API", container);
  }
  return group;
}

int open_group_device(const struct group* group, const char* sysfs_device) {
  if (ioctl(group->fd, VFIO_GROUP_SET_CONTAINER, &group->container)) {
    err(1, "VFIO_GROUP_SET_CONTAINER");
  }
  if (ioctl(group->container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU)) err(1, "VFIO_SET_IOMMU");
  const int device = ioctl(group->fd, VFIO_GROUP_GET_DEVICE_FD, last_part(sysfs_device));
  if (device < 0) err(1, "VFIO_GROUP_GET_DEVICE_FD");
  return device;
}

void close_group(const struct group* group) {
  close(group->fd);
  close(group->container);
}
