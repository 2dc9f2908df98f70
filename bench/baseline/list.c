// list <sysfs root>: for every number on standard input, so many rounds of reading what listDevices
// reads of every device on every bus; prints the nanoseconds of each round and how many devices it
// found. bench/list.ts makes its own rounds in between.

#define _GNU_SOURCE
#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char* const attributes[] = {
    "vendor",   "device",       "subsystem_vendor", "subsystem_device", "class",
    "revision", "sriov_numvfs", "sriov_totalvfs",   "driver_override",  "numa_node"};
static const char* const links[] = {"driver", "iommu_group", "physfn"};

// What was read, so that reading is not for nothing.
static uint64_t bytes_read;

static int read_attribute(const char* folder, const char* name) {
  char path[PATH_MAX];
  char text[4096];
  snprintf(path, sizeof(path), "%.3000s/%s", folder, name);
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  const ssize_t length = read(fd, text, sizeof(text));
  close(fd);
  if (length > 0) bytes_read += (uint64_t)length;
  return 1;
}

static int read_link(const char* folder, const char* name) {
  char path[PATH_MAX];
  char target[PATH_MAX];
  snprintf(path, sizeof(path), "%.3000s/%s", folder, name);
  const ssize_t length = readlink(path, target, sizeof(target));
  if (length > 0) bytes_read += (uint64_t)length;
  return length > 0;
}

// The device's cdev with its numbers.
static int read_cdev(const char* device) {
  char path[PATH_MAX];
  snprintf(path, sizeof(path), "%.2000s/vfio-dev", device);
  DIR* dir = opendir(path);
  if (!dir) return 0;
  int found = 0;
  for (struct dirent* entry; (entry = readdir(dir));) {
    if (!strstr(entry->d_name, "vfio")) continue;
    char folder[PATH_MAX];
    snprintf(folder, sizeof(folder), "%.2000s/vfio-dev/%s", device, entry->d_name);
    found = read_attribute(folder, "dev");
  }
  closedir(dir);
  return found;
}

static int read_device(const char* device) {
  char path[PATH_MAX];
  const int has_group = read_link(device, links[1]);
  const int has_cdev = read_cdev(device);
  if (!has_group && !has_cdev) return 0;
  for (size_t at = 0; at < sizeof(attributes) / sizeof(*attributes); at++) {
    read_attribute(device, attributes[at]);
  }
  read_link(device, links[0]);
  read_link(device, links[2]);
  snprintf(path, sizeof(path), "%.3000s/uevent", device);
  return access(path, F_OK) == 0;
}

static int read_bus(const char* bus) {
  char path[PATH_MAX];
  snprintf(path, sizeof(path), "%.2000s/devices", bus);
  DIR* dir = opendir(path);
  if (!dir) return 0;
  int count = 0;
  for (struct dirent* entry; (entry = readdir(dir));) {
    if (entry->d_name[0] == '.') continue;
    char device[PATH_MAX];
    snprintf(device, sizeof(device), "%.2000s/%s", path, entry->d_name);
    count += read_device(device);
  }
  closedir(dir);
  return count;
}

static int list_devices(const char* sysfs) {
  char path[PATH_MAX];
  snprintf(path, sizeof(path), "%.2000s/bus", sysfs);
  DIR* dir = opendir(path);
  if (!dir) err(1, "%s", path);
  int count = 0;
  for (struct dirent* entry; (entry = readdir(dir));) {
    if (entry->d_name[0] == '.') continue;
    char bus[PATH_MAX];
    snprintf(bus, sizeof(bus), "%.2000s/%s", path, entry->d_name);
    count += read_bus(bus);
  }
  closedir(dir);
  return count;
}

static uint64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  for (int rounds; scanf("%d", &rounds) == 1;) {
    for (int round = 0; round < rounds; round++) {
      const uint64_t start = now();
      const int count = list_devices(argv[1]);
      printf("{\"nanoseconds\": %lu, \"devices\": %d}\n", now() - start, count);
    }
    fflush(stdout);
  }
  return bytes_read == 0;
}
