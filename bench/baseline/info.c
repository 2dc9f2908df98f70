// info <sysfs device>: prints what the kernel says of a device as JSON, numbers as the kernel gave
// them. The device tests hold the library's answers against it.

#include <inttypes.h>
#include <stdio.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cdev.h"

static void print_capabilities(const char* bytes, uint32_t offset) {
  printf("\"capabilities\": [");
  for (const char* comma = ""; offset; comma = ", ") {
    const struct vfio_info_cap_header* header = (const void*)(bytes + offset);
    printf("%s{\"id\": %u, \"version\": %u}", comma, header->id, header->version);
    offset = header->next;
  }
  printf("]");
}

static void print_region(const union info* info, const char* comma) {
  const struct vfio_region_info* region = &info->region;
  printf("%s\n  {\"index\": %u, \"flags\": %u, \"size\": \"%" PRIu64 "\", \"offset\": \"%" PRIu64
         "\", ",
         comma, region->index, region->flags, (uint64_t)region->size, (uint64_t)region->offset);
  const int has_caps = region->flags & VFIO_REGION_INFO_FLAG_CAPS;
  print_capabilities(info->bytes, has_caps ? region->cap_offset : 0);
  printf("}");
}

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const struct cdev cdev = find_cdev(argv[1]);
  const int device = open_cdev(&cdev);
  const int iommufd = open_iommufd();
  bind_iommufd(device, iommufd);
  static union info info;
  get_device_info(device, &info);
  const struct vfio_device_info head = info.device;
  printf("{\"name\": \"%s\", \"major\": %u, \"minor\": %u,\n", cdev.name, major(cdev.numbers),
         minor(cdev.numbers));
  printf("\"flags\": %u, \"num_regions\": %u, \"num_irqs\": %u,\n", head.flags, head.num_regions,
         head.num_irqs);
  print_capabilities(info.bytes, head.flags & VFIO_DEVICE_FLAGS_CAPS ? head.cap_offset : 0);
  printf(",\n\"regions\": [");
  const char* comma = "";
  for (uint32_t index = 0; index < head.num_regions; index++) {
    if (!get_region_info(device, index, &info)) continue;
    print_region(&info, comma);
    comma = ",";
  }
  printf("],\n\"irqs\": [");
  comma = "";
  for (uint32_t index = 0; index < head.num_irqs; index++) {
    if (!get_irq_info(device, index, &info)) continue;
    printf("%s\n  {\"index\": %u, \"flags\": %u, \"count\": %u}", comma, info.irq.index,
           info.irq.flags, info.irq.count);
    comma = ",";
  }
  printf("]}\n");
  close(device);
  close(iommufd);
  return 0;
}
