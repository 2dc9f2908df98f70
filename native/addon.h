#pragma once

#include <napi.h>

#include <cstdint>
#include <memory>
#include <unordered_map>

#include "fd.h"
#include "handles.h"
#include "map_mail.h"
#include "mapping.h"
#include "memory.h"
#include "mmio.h"
#include "polls.h"
#include "shared.h"
#include "slow_call.h"

// What one environment (the main thread, or a worker) has of its own: nothing here is shared
// between environments.
struct Addon {
  // Before the descriptors, and so freed after them: an iommufd may have maps of it.
  HandleTable<Memory> memories;
  HandleTable<SharedCount> shared_counts;
  HandleTable<Fd> fds;
  HandleTable<Mapping> mappings;
  // Mappings that could not be unmapped, by the handles that they had.
  std::unordered_map<uint32_t, std::shared_ptr<Mapping>> not_unmapped;
  // The words that JavaScript writes into; nobody's until it has them.
  Mailbox no_mailbox = {};
  Mailbox* mailbox = &no_mailbox;
  Napi::ObjectReference mailbox_owner;
  MapMail no_map_mail = {};
  MapMail* map_mail = &no_map_mail;
  Napi::ObjectReference map_mail_owner;
  // Made by the first slow call, ended and freed by the environment's cleanup.
  SlowCalls* slow_calls = nullptr;
  // Made by the first descriptor that is polled, and likewise.
  Polls* polls = nullptr;
};

inline Addon& AddonOf(Napi::Env env) { return *env.GetInstanceData<Addon>(); }
