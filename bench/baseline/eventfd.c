// eventfd write <fd> <rounds> <microseconds>: signals an eventfd so often, so far apart, and prints
// the nanoseconds of CLOCK_MONOTONIC at which it did, a line each.
// eventfd loop <fd> <rounds>: waits for it by epoll, reads it, and prints when it had.
// eventfd many <count> <events>: signals 16 of so many eventfds at a time and reads them by epoll,
// until that were so many events; prints the nanoseconds of one.
// eventfd pin <pid> <cpu>: has another process run on that processor only; -1: on any.
// bench/interrupt.ts puts the first two, or the first and itself, together, and does the third too.

#define _GNU_SOURCE
#include <err.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { MOST_ROUNDS = 100000 };
static uint64_t at[MOST_ROUNDS];

static uint64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

// As a device it does not compete for the processor with who is woken: whether the scheduler lets
// the one preempt the other, or go to sleep first, is not what is measured.
static void write_rounds(int fd, int rounds, int microseconds) {
  const struct sched_param idle = {.sched_priority = 0};
  if (sched_setscheduler(0, SCHED_IDLE, &idle) != 0) err(1, "sched_setscheduler");
  const struct timespec gap = {.tv_nsec = microseconds * 1000L};
  for (int round = 0; round < rounds; round++) {
    nanosleep(&gap, NULL);
    at[round] = now();
    if (eventfd_write(fd, 1) != 0) err(1, "eventfd_write");
  }
}

static void loop_rounds(int fd, int rounds) {
  const int loop = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
  if (loop < 0 || epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event) != 0) err(1, "epoll");
  printf("ready\n");
  fflush(stdout);
  for (int round = 0; round < rounds;) {
    eventfd_t count;
    if (epoll_wait(loop, &event, 1, -1) != 1) err(1, "epoll_wait");
    if (eventfd_read(event.data.fd, &count) != 0) err(1, "eventfd_read");
    const uint64_t time = now();
    // On a busy machine a signal may have to wait for the next one.
    for (; count > 0 && round < rounds; count--) at[round++] = time;
  }
}

enum { AT_A_TIME = 16, MOST_FDS = 65536 };
static int fds[MOST_FDS];

// One event of each of 16 eventfds that are far apart.
static void many_round(int loop, int count, int round) {
  for (int one = 0; one < AT_A_TIME; one++) {
    const int which = (round * AT_A_TIME + one * (count / AT_A_TIME)) % count;
    if (eventfd_write(fds[which], 1) != 0) err(1, "eventfd_write");
  }
  struct epoll_event ready[AT_A_TIME];
  for (int told = 0; told < AT_A_TIME;) {
    const int some = epoll_wait(loop, ready, AT_A_TIME, -1);
    if (some < 0) err(1, "epoll_wait");
    for (int one = 0; one < some; one++) {
      eventfd_t value;
      if (eventfd_read(ready[one].data.fd, &value) != 0) err(1, "eventfd_read");
    }
    told += some;
  }
}

static void many(int count, int events) {
  const int loop = epoll_create1(EPOLL_CLOEXEC);
  for (int at = 0; at < count; at++) {
    fds[at] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fds[at]};
    if (epoll_ctl(loop, EPOLL_CTL_ADD, fds[at], &event) != 0) err(1, "epoll_ctl");
  }
  const int rounds = events / AT_A_TIME;
  uint64_t begin = 0;
  // A tenth before, to warm up.
  for (int round = -rounds / 10; round < rounds; round++) {
    if (round == 0) begin = now();
    many_round(loop, count, abs(round));
  }
  printf("%f\n", (double)(now() - begin) / events);
}

static void pin(int pid, int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (int at = 0; at < CPU_SETSIZE; at++) {
    if (cpu < 0 || at == cpu) CPU_SET(at, &set);
  }
  if (sched_setaffinity(pid, sizeof(set), &set) != 0) err(1, "sched_setaffinity");
}

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  if (strcmp(argv[1], "many") == 0) {
    const int count = atoi(argv[2]);
    if (count < AT_A_TIME || count > MOST_FDS) return 2;
    many(count, atoi(argv[3]));
    return 0;
  }
  if (strcmp(argv[1], "pin") == 0) {
    pin(atoi(argv[2]), atoi(argv[3]));
    return 0;
  }
  const int fd = atoi(argv[2]);
  const int rounds = atoi(argv[3]);
  if (rounds > MOST_ROUNDS) return 2;
  if (strcmp(argv[1], "write") == 0 && argc == 5) {
    write_rounds(fd, rounds, atoi(argv[4]));
  } else {
    loop_rounds(fd, rounds);
  }
  for (int round = 0; round < rounds; round++) printf("%lu\n", at[round]);
  return 0;
}
