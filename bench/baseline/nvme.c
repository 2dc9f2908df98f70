// nvme <sysfs device> | null: random reads of an NVMe controller by one queue pair, polled, as
// examples/nvme/random_reads.ts makes them. For every "<bytes> <depth> <milliseconds>" on standard
// input goes on for so long and prints the reads a second as a JSON object; a line that ends with
// "latency" counts reads instead of milliseconds and prints the median of their latencies, of the
// last million at most.
//
// `null` has no device: rings and doorbells are ordinary memory, and what is pushed is completed by
// the loop itself. What is left is what the processor does for a read.

#define _GNU_SOURCE
#include <err.h>
#include <linux/iommufd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "cdev.h"

enum {
  PAGE = 4096,
  ENTRIES = 256,
  ADMIN = 32,
  MEMORY = 4 << 20,
  // Where in the memory each is.
  ADMIN_SQ = 0,
  ADMIN_CQ = PAGE,
  DATA_PAGE = 2 * PAGE,
  SQ = 4 * PAGE,
  CQ = 8 * PAGE,
  DATA = 16 * PAGE,
  LATENCIES = 1000000,
  // Looks at the ring between two looks at the clock.
  LOOKS = 256,
};

struct queue {
  volatile uint32_t* tail_doorbell;
  volatile uint32_t* head_doorbell;
  uint32_t* submissions;
  uint32_t* completions;
  uint32_t entries, tail, rung, head, phase;
};

static char* memory;
static uint64_t iova;
static volatile char* bar;
static uint64_t blocks;
static uint32_t block_size;
static int is_null;
static struct queue queue;

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static void write32(uint32_t offset, uint32_t value) {
  *(volatile uint32_t*)(bar + offset) = value;
}
static uint32_t read32(uint32_t offset) { return *(volatile uint32_t*)(bar + offset); }

static void wait_for(uint32_t offset, uint32_t mask, uint32_t value) {
  const double until = now() + 30e9;
  while ((read32(offset) & mask) != value) {
    if (now() > until) errx(1, "the controller does not answer");
  }
}

static void make_queue(struct queue* made, uint32_t id, uint32_t entries, size_t sq, size_t cq) {
  // Doorbells are 4 << CAP.DSTRD bytes apart.
  const uint32_t apart = 4u << (read32(4) & 15);
  made->tail_doorbell = (volatile uint32_t*)(bar + 0x1000 + 2 * id * apart);
  made->head_doorbell = (volatile uint32_t*)(bar + 0x1000 + (2 * id + 1) * apart);
  made->submissions = (uint32_t*)(memory + sq);
  made->completions = (uint32_t*)(memory + cq);
  made->entries = entries;
  made->phase = 0x10000;
}

static uint32_t* next(struct queue* to) { return to->submissions + to->tail * 16; }

static void push(struct queue* to) { to->tail = to->tail + 1 == to->entries ? 0 : to->tail + 1; }

static void ring(struct queue* to) {
  if (to->tail == to->rung) return;
  to->rung = to->tail;
  __atomic_thread_fence(__ATOMIC_RELEASE);
  *to->tail_doorbell = to->tail;
}

// The next completion's identifier and status; 0 where there is none.
static uint32_t* take(struct queue* from) {
  uint32_t* completion = from->completions + from->head * 4;
  const uint32_t last = __atomic_load_n(completion + 3, __ATOMIC_ACQUIRE);
  if ((last & 0x10000) != from->phase) return NULL;
  if (++from->head == from->entries) {
    from->head = 0;
    from->phase ^= 0x10000;
  }
  return completion;
}

static void run_admin(uint32_t opcode, uint32_t namespace, uint64_t prp, uint32_t cdw10,
                      uint32_t cdw11) {
  static struct queue admin;
  if (!admin.entries) make_queue(&admin, 0, ADMIN, ADMIN_SQ, ADMIN_CQ);
  uint32_t* command = next(&admin);
  memset(command, 0, 64);
  command[0] = opcode;
  command[1] = namespace;
  memcpy(command + 6, &prp, 8);
  command[10] = cdw10;
  command[11] = cdw11;
  push(&admin);
  ring(&admin);
  uint32_t* completion;
  while (!(completion = take(&admin))) continue;
  if (completion[3] >> 17) errx(1, "admin command %u: status 0x%x", opcode, completion[3] >> 17);
  *admin.head_doorbell = admin.head;
}

static void map_memory(int iommufd, uint32_t ioas) {
  struct iommu_ioas_map map = {
      .size = sizeof(map),
      .flags = IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE,
      .ioas_id = ioas,
      .user_va = (uintptr_t)memory,
      .length = MEMORY,
  };
  if (ioctl(iommufd, IOMMU_IOAS_MAP, &map)) err(1, "IOMMU_IOAS_MAP");
  iova = map.iova;
}

static void start(const char* sysfs_device) {
  static union info info;
  const struct cdev cdev = find_cdev(sysfs_device);
  const int device = open_cdev(&cdev);
  const int iommufd = open_iommufd();
  bind_iommufd(device, iommufd);
  const uint32_t ioas = alloc_ioas(iommufd);
  attach_ioas(device, ioas);
  map_memory(iommufd, ioas);
  // Memory decoding and bus mastering, in the Command register.
  get_region_info(device, VFIO_PCI_CONFIG_REGION_INDEX, &info);
  const uint16_t command = 6;
  if (pwrite(device, &command, 2, (off_t)info.region.offset + 4) != 2) err(1, "Command");
  get_region_info(device, VFIO_PCI_BAR0_REGION_INDEX, &info);
  bar = mmap(NULL, info.region.size, PROT_READ | PROT_WRITE, MAP_SHARED, device,
             (off_t)info.region.offset);
  if (bar == MAP_FAILED) err(1, "bar0");

  write32(0x14, 0);
  wait_for(0x1c, 1, 0);
  write32(0x24, ((ADMIN - 1) << 16) | (ADMIN - 1));
  write32(0x28, (uint32_t)(iova + ADMIN_SQ));
  write32(0x2c, (uint32_t)((iova + ADMIN_SQ) >> 32));
  write32(0x30, (uint32_t)(iova + ADMIN_CQ));
  write32(0x34, (uint32_t)((iova + ADMIN_CQ) >> 32));
  write32(0x14, (4 << 20) | (6 << 16) | 1);
  wait_for(0x1c, 3, 1);

  run_admin(0x06, 1, iova + DATA_PAGE, 0, 0);
  const uint8_t* data = (const uint8_t*)(memory + DATA_PAGE);
  memcpy(&blocks, data, 8);
  block_size = 1u << data[128 + (data[26] & 15) * 4 + 2];
  run_admin(0x05, 0, iova + CQ, ((ENTRIES - 1) << 16) | 1, 1);
  run_admin(0x01, 0, iova + SQ, ((ENTRIES - 1) << 16) | 1, (1 << 16) | 1);
  make_queue(&queue, 1, ENTRIES, SQ, CQ);
}

static void start_null(void) {
  bar = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (bar == MAP_FAILED) err(1, "mmap");
  blocks = 1 << 17;
  block_size = 512;
  make_queue(&queue, 1, ENTRIES, SQ, CQ);
}

// The null device: completes what it was told of.
static void complete(void) {
  static uint32_t head, at, phase = 0x10000;
  while (head != queue.rung) {
    const uint32_t id = queue.submissions[head * 16] >> 16;
    __atomic_store_n(queue.completions + at * 4 + 3, id | phase, __ATOMIC_RELEASE);
    head = head + 1 == queue.entries ? 0 : head + 1;
    if (++at == queue.entries) {
      at = 0;
      phase ^= 0x10000;
    }
  }
}

static uint64_t prps[ENTRIES][2];
static double began[ENTRIES];
static double latencies[LATENCIES];

static void begin(uint32_t id, uint32_t each) {
  static uint32_t state = 0x9e3779b9;
  state ^= state << 13;
  state ^= state >> 17;
  state ^= state << 5;
  const uint64_t block = (state >> 1) % (blocks / each) * each;
  uint32_t* command = next(&queue);
  command[0] = 0x02 | (id << 16);
  command[1] = 1;
  memcpy(command + 6, prps[id], 16);
  command[10] = (uint32_t)block;
  command[11] = (uint32_t)(block >> 32);
  command[12] = each - 1;
  push(&queue);
}

static int compare(const void* left, const void* right) {
  const double difference = *(const double*)left - *(const double*)right;
  return difference < 0 ? -1 : difference > 0;
}

// Whether `latency` is measured is known before: neither form pays for the other.
static inline __attribute__((always_inline)) uint64_t reads(uint32_t bytes, uint32_t depth,
                                                            double limit, int latency) {
  const uint32_t each = bytes / block_size;
  for (uint32_t id = 0; id < depth; id++) {
    prps[id][0] = iova + DATA + (uint64_t)id * bytes;
    prps[id][1] = 0;
    if (latency) began[id] = now();
    begin(id, each);
  }
  uint64_t done = 0;
  uint32_t under_way = depth;
  const double until = now() + limit * 1e6;
  int over = 0;
  while (under_way > 0) {
    for (int turn = 0; turn < LOOKS && under_way > 0; turn++) {
      ring(&queue);
      if (is_null) complete();
      uint32_t* completion;
      uint32_t count = 0;
      while ((completion = take(&queue))) {
        if (completion[3] >> 17) errx(1, "read: status 0x%x", completion[3] >> 17);
        const uint32_t id = completion[3] & 0xffff;
        count++;
        if (latency) {
          const double time = now();
          latencies[done % LATENCIES] = time - began[id];
          began[id] = time;
        }
        done++;
        if (latency && done + under_way > (uint64_t)limit) over = 1;
        if (over) {
          under_way--;
        } else {
          begin(id, each);
        }
      }
      if (count > 0) *queue.head_doorbell = queue.head;
    }
    if (!latency && now() >= until) over = 1;
  }
  return done;
}

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  memory =
      mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (memory == MAP_FAILED) err(1, "mmap");
  is_null = !strcmp(argv[1], "null");
  if (is_null) {
    start_null();
  } else {
    start(argv[1]);
  }
  char line[128];
  while (fgets(line, sizeof(line), stdin)) {
    uint32_t bytes;
    uint32_t depth;
    double limit;
    if (sscanf(line, "%u %u %lf", &bytes, &depth, &limit) != 3) return 2;
    if (depth >= ENTRIES || (uint64_t)bytes * depth > MEMORY - DATA) return 2;
    if (strstr(line, "latency")) {
      const uint64_t done = reads(bytes, depth, limit, 1);
      const size_t kept = done < LATENCIES ? done : LATENCIES;
      qsort(latencies, kept, sizeof(*latencies), compare);
      printf("{\"done\": %lu, \"p50\": %f}\n", done, latencies[kept / 2]);
    } else {
      const double start = now();
      const uint64_t done = reads(bytes, depth, limit, 0);
      printf("{\"done\": %lu, \"ns\": %f}\n", done, now() - start);
    }
    fflush(stdout);
  }
  return 0;
}
