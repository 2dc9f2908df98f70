#pragma once

#include "fd.h"
#include "memory.h"
#include "shared.h"
#include "slow_call.h"

// What one environment (the main thread, or a worker) has of its own: nothing here is shared
// between environments.
struct Addon {
  // Before the descriptors, and so freed after them: an iommufd may have maps of it.
  MemoryTable memories;
  TallyTable tallies;
  FdTable fds;
  // Made by the first slow call, ended and freed by the environment's cleanup.
  SlowCalls* slow_calls = nullptr;
  // An eventfd, made by the first watch and readable when the environment ends.
  std::shared_ptr<Fd> end_of_waits;
};
