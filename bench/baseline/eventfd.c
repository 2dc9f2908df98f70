// eventfd write <fd> <rounds> <microseconds>: signals an eventfd so often, so far apart, and prints
// the nanoseconds of CLOCK_MONOTONIC at which it did, a line each.
// eventfd loop <fd> <rounds>: waits for it by epoll, reads it, and prints when it had.
// bench/interrupt.ts puts the two, or the first and itself, together.

#include <err.h>
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

static void write_rounds(int fd, int rounds, int microseconds) {
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

int main(int argc, char** argv) {
  if (argc < 4) return 2;
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
