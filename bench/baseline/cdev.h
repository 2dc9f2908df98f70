#pragma once

// The shortest way to a VFIO device in C, one function a step. Each exits with a message where the
// kernel refuses.

#include <linux/iommufd.h>
#include <linux/vfio.h>
#include <stdint.h>
#include <sys/types.h>

// The device's one entry in <sysfs device>/vfio-dev, and the numbers in its `dev`.
struct cdev {
  char name[64];
  dev_t numbers;
};

// The device numbers that a file of sysfs holds.
dev_t read_numbers(const char* file);
// Opens a node and checks its numbers by fstat.
int open_node(const char* path, dev_t numbers);

struct cdev find_cdev(const char* sysfs_device);
// Opens /dev/vfio/devices/<name>.
int open_cdev(const struct cdev* cdev);
int open_iommufd(void);
uint32_t bind_iommufd(int device, int iommufd);
uint32_t alloc_ioas(int iommufd);
uint32_t attach_ioas(int device, uint32_t ioas);

// The info structs with room for their capabilities. The index forms return 0 where the kernel does
// not know the index.
union info {
  struct vfio_device_info device;
  struct vfio_region_info region;
  struct vfio_irq_info irq;
  char bytes[65536];
};

void get_device_info(int device, union info* info);
int get_region_info(int device, uint32_t index, union info* info);
int get_irq_info(int device, uint32_t index, union info* info);
// All three, of every index; the answers are not kept.
void read_all_info(int device, union info* info);
