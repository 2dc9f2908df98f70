#pragma once

#include <napi.h>

#include <cstdint>
#include <memory>
#include <unordered_map>

#include "dma_poll.h"
#include "fd.h"
#include "handles.h"
#include "map_mail.h"
#include "mapping.h"
#include "memory.h"
#include "mmio.h"
#include "polls.h"
#include "prepared.h"
#include "shared.h"
#include "slow_call.h"

// What one environment (the main thread, or a worker) has of its own: nothing here is shared
// between environments.
struct Addon {
  ~Addon();

  // Before the descriptors, and so freed after them: an iommufd may have maps of it.
  HandleTable<Memory> memories;
  HandleTable<SharedCount> shared_counts;
  HandleTable<Fd> fds;
  HandleTable<Mapping> mappings;
  // These name their mapping or memory by its handle, and keep nothing of it.
  HandleTable<Prepared> prepared;
  HandleTable<DmaPoll> dma_polls;
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

// Whose call was the last of this thread. Asking the environment for its Addon costs more than an
// access does; a thread has one environment, or one that makes all its calls in a row.
struct LastCaller {
  napi_env env = nullptr;
  Addon* addon = nullptr;
};
extern constinit thread_local LastCaller last_caller __attribute__((tls_model("initial-exec")));

inline Addon::~Addon() {
  if (last_caller.addon == this) last_caller = {};
}

Addon* AskForAddon(napi_env env, napi_callback_info info);

// The Addon of a function that ExportPlain exported; null where Node-API fails.
inline Addon* AddonOfCall(napi_env env, napi_callback_info info) {
  const LastCaller last = last_caller;
  if (last.env == env) [[likely]]
    return last.addon;
  return AskForAddon(env, info);
}

inline Addon& AddonOf(Napi::Env env) { return *env.GetInstanceData<Addon>(); }
