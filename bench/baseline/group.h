#pragma once

// The legacy way to a VFIO device: its IOMMU group in a container. Each function exits with a
// message where the kernel refuses.

#include <sys/types.h>

// The number that <sysfs device>/iommu_group leads to, and the numbers of the group's node.
struct group_node {
  int group;
  dev_t numbers;
};

struct group {
  int fd;
  int container;
};

struct group_node find_group(const char* sysfs_device);
// Opens /dev/vfio/<group> and the container: /dev/vfio/vfio, or /dev/iommu. Checks the node's
// numbers by fstat, and that the group is viable.
struct group open_group(const struct group_node* node, const char* container);
// Puts the group into the container, chooses the type 1 IOMMU and opens the device, which is called
// as the last part of its folder in sysfs.
int open_group_device(const struct group* group, const char* sysfs_device);
void close_group(const struct group* group);
