#pragma once

// The legacy way to a VFIO device: its IOMMU group in a container. Each function exits with a
// message where the kernel refuses.

struct group {
  int number;
  int fd;
  int container;
};

// The number that <sysfs device>/iommu_group leads to.
int find_group(const char* sysfs_device);
// Opens /dev/vfio/<number> and the container: /dev/vfio/vfio, or /dev/iommu. Checks that the group
// is viable.
struct group open_group(int number, const char* container);
// Puts the group into the container, chooses the type 1 IOMMU and opens the device, which is called
// as the last part of its folder in sysfs.
int open_group_device(const struct group* group, const char* sysfs_device);
void close_group(const struct group* group);
