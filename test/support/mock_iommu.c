// Has the kernel's mock IOMMU (CONFIG_IOMMUFD_TEST) do what hardware would: one operation on the
// iommufd that is descriptor 3, named by the arguments. Prints what the kernel answered. Exits with
// the errno where it refused, 255 for a mistake in the arguments.
//
// The numbers are those of drivers/iommu/iommufd/iommufd_test.h (Linux 7.3), which is no header for
// programs: it may change with every kernel.
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

enum { kIommufd = 3, kFile = 4, kDestroy = 0x3b80, kTest = 0x3ba0, kBad = 255 };

enum {
  kCheckMap = 3,
  kReplace = 10,
  kDevice = 12,
  kDirty = 13,
  kCheckIotlb = 14,
  kFault = 15,
  kCheckCache = 16,
  kEvent = 17,
  kPasidAttach = 18,
  kPasidReplace = 19,
  kPasidDetach = 20,
  kPasidCheck = 21,
};

// What all operations have, then what each has.
struct command {
  uint32_t size;
  uint32_t op;
  uint32_t id;
  uint32_t reserved;
  union {
    uint32_t words[12];
    uint64_t longs[6];
  };
  uint32_t last;
};

static uint64_t number(char** arguments, int at) {
  if (arguments[at] == NULL) exit(kBad);
  return strtoull(arguments[at], NULL, 0);
}

static void call(struct command* command) {
  command->size = sizeof(*command);
  if (ioctl(kIommufd, kTest, command) != 0) exit(errno);
}

// id, then words
static struct command words(uint32_t op, char** arguments, int count) {
  struct command command = {.op = op, .id = number(arguments, 0)};
  for (int at = 0; at < count; at++) command.words[at] = number(arguments, at + 1);
  return command;
}

// device IOAS FLAGS: a device behind the mock, attached there -> its own id, its page table's, its
// id as a device
static void make_device(char** arguments) {
  struct command command = {.op = kDevice, .id = number(arguments, 0)};
  command.words[3] = number(arguments, 1);
  call(&command);
  printf("%u %u %u\n", command.words[0], command.words[1], command.words[2]);
}

// map HWPT IOVA LENGTH OFFSET: whether the table leads to these bytes of the file 4
static void check_map(char** arguments) {
  const size_t length = number(arguments, 2);
  void* const memory =
      mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, kFile, number(arguments, 3));
  if (memory == MAP_FAILED) exit(kBad);
  struct command command = {.op = kCheckMap, .id = number(arguments, 0)};
  command.longs[0] = number(arguments, 1);
  command.longs[1] = length;
  command.longs[2] = (uintptr_t)memory;
  call(&command);
}

// dirty HWPT IOVA LENGTH PAGE: writes, as a device would, to the pages whose bits standard input
// has -> how many
static void write_pages(char** arguments) {
  const uint64_t length = number(arguments, 2);
  const uint64_t page = number(arguments, 3);
  if (page == 0) exit(kBad);
  const size_t bytes = (length / page + 63) / 64 * 8;
  uint8_t* const bitmap = calloc(bytes, 1);
  if (bitmap == NULL || fread(bitmap, 1, bytes, stdin) != bytes) exit(kBad);
  struct command command = {.op = kDirty, .id = number(arguments, 0)};
  command.longs[1] = number(arguments, 1);
  command.longs[2] = length;
  command.longs[3] = page;
  command.longs[4] = (uintptr_t)bitmap;
  call(&command);
  printf("%llu\n", (unsigned long long)command.longs[5]);
}

// fault DEVICE PASID GROUP PERMISSIONS ADDRESS: a page request
static void request_page(char** arguments) {
  struct command command = {.op = kFault};
  for (int at = 0; at < 4; at++) command.words[at] = number(arguments, at);
  command.longs[2] = number(arguments, 4);
  call(&command);
}

// destroy ID
static void destroy(char** arguments) {
  struct {
    uint32_t size;
    uint32_t id;
  } command = {.size = 8, .id = number(arguments, 0)};
  if (ioctl(kIommufd, kDestroy, &command) != 0) exit(errno);
}

int main(int count, char** arguments) {
  if (count < 2) return kBad;
  const char* const op = arguments[1];
  char** const given = arguments + 2;
  struct command command;
  if (strcmp(op, "device") == 0) {
    make_device(given);
  } else if (strcmp(op, "map") == 0) {
    check_map(given);
  } else if (strcmp(op, "dirty") == 0) {
    write_pages(given);
  } else if (strcmp(op, "fault") == 0) {
    request_page(given);
  } else if (strcmp(op, "destroy") == 0) {
    destroy(given);
  } else if (strcmp(op, "event") == 0) {  // DEVICE
    command = (struct command){.op = kEvent};
    command.words[0] = number(given, 0);
    call(&command);
  } else if (strcmp(op, "replace") == 0) {  // DEVICE HWPT
    command = words(kReplace, given, 1);
    call(&command);
  } else if (strcmp(op, "iotlb") == 0) {  // HWPT ENTRY VALUE
    command = words(kCheckIotlb, given, 2);
    call(&command);
  } else if (strcmp(op, "cache") == 0) {  // DEVICE ENTRY VALUE
    command = words(kCheckCache, given, 2);
    call(&command);
  } else if (strcmp(op, "pasid-attach") == 0) {  // DEVICE PASID HWPT
    command = words(kPasidAttach, given, 2);
    call(&command);
  } else if (strcmp(op, "pasid-replace") == 0) {
    command = words(kPasidReplace, given, 2);
    call(&command);
  } else if (strcmp(op, "pasid-detach") == 0) {  // DEVICE PASID
    command = words(kPasidDetach, given, 1);
    call(&command);
  } else if (strcmp(op, "pasid-check") == 0) {  // DEVICE PASID HWPT
    command = words(kPasidCheck, given, 2);
    call(&command);
  } else {
    return kBad;
  }
  return 0;
}
