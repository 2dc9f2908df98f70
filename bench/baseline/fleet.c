// fleet <sysfs device>...: for every number on standard input, so many rounds of opening all
// devices at once, with a thread each, and closing them likewise; prints the nanoseconds of both as
// a JSON object a line and round. bench/fleet.ts makes its own rounds in between.

#include <err.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "cdev.h"

enum { MOST = 64 };

struct job {
  const char* sysfs_device;
  int iommufd;
  int device;
};

static uint64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void* open_one(void* argument) {
  struct job* job = argument;
  union info* info = &(union info){};
  const struct cdev cdev = find_cdev(job->sysfs_device);
  job->device = open_cdev(&cdev);
  bind_iommufd(job->device, job->iommufd);
  read_all_info(job->device, info);
  return NULL;
}

static void* close_one(void* argument) {
  close(((struct job*)argument)->device);
  return NULL;
}

static uint64_t at_once(struct job* jobs, int count, void* (*run)(void*)) {
  pthread_t threads[MOST];
  const uint64_t start = now();
  for (int at = 0; at < count; at++) {
    if (pthread_create(&threads[at], NULL, run, &jobs[at])) errx(1, "no thread");
  }
  for (int at = 0; at < count; at++) pthread_join(threads[at], NULL);
  return now() - start;
}

int main(int argc, char** argv) {
  const int count = argc - 1;
  if (count < 1 || count > MOST) return 2;
  struct job jobs[MOST];
  for (int rounds; scanf("%d", &rounds) == 1; fflush(stdout)) {
    for (int round = 0; round < rounds; round++) {
      const int iommufd = open_iommufd();
      for (int at = 0; at < count; at++) jobs[at] = (struct job){argv[at + 1], iommufd, -1};
      const uint64_t opened = at_once(jobs, count, open_one);
      const uint64_t closed = at_once(jobs, count, close_one);
      close(iommufd);
      printf("{\"open\": %lu, \"close\": %lu}\n", opened, closed);
    }
  }
  return 0;
}
