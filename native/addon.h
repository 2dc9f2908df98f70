#pragma once

#include "fd.h"
#include "mapping.h"
#include "mmio.h"
#include "slow_call.h"

// What one environment (the main thread, or a worker) has of its own: nothing here is shared
// between environments.
struct Addon {
  FdTable fds;
  MappingTable mappings;
  Mailbox* mailbox = nullptr;
  Napi::ObjectReference mailbox_owner;
  // Made by the first slow call, ended and freed by the environment's cleanup.
  SlowCalls* slow_calls = nullptr;
  // An eventfd, made by the first watch and readable when the environment ends.
  std::shared_ptr<Fd> end_of_waits;
};
