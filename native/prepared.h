#pragma once

#include <napi.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "fault_guard.h"
#include "handles.h"
#include "mapping.h"
#include "mmio.h"

// Accesses of one mapping that are made in their order by a call without arguments. Their places
// are checked once, for a mapping never changes; whether it is there still is asked at each run.
class Prepared {
 public:
  // The binary logarithm of the width in bytes, and whether it writes.
  static constexpr uint8_t kWidth = 3;
  static constexpr uint8_t kWrite = 4;

  struct Access {
    volatile std::byte* place;
    uint8_t kind;
  };

  // What the accesses write and have read: of each 64 bits, then of each 32. JavaScript shows it,
  // may keep it for longer, and may change it at any time, by another thread.
  using Values = std::vector<uint64_t>;

  Prepared(uint32_t handle, const Mapping& mapping, std::vector<Access> accesses);

  const std::shared_ptr<Values>& values() const { return values_; }

  // kDone; kRefused where the mapping is closed; or -EIO, and which one faulted.
  int32_t Run(HandleTable<Mapping>& mappings, uint32_t* failed_at) {
    if (!mapping_.IsIn(mappings)) [[unlikely]]
      return kRefused;
    return Guarded(start_, size_, [this, failed_at] { MakeAll(row_, failed_at); });
  }

 private:
  // Kept in registers: the compiler must not assume that memory is the same after an access.
  struct Row {
    const Access* accesses;
    uint32_t count;
    volatile uint32_t* narrow;
    volatile uint64_t* wide;
  };

  static void MakeAll(const Row row, volatile uint32_t* failed_at) {
    for (uint32_t at = 0; at < row.count; at++) {
      *failed_at = at;
      Make(row.accesses[at], row.narrow + at, row.wide + at);
    }
  }

  static void Make(const Access access, volatile uint32_t* narrow, volatile uint64_t* wide) {
    switch (access.kind & kWidth) {
      [[likely]] case 2:
        return Transfer<uint32_t>(access, narrow);
      case 1:
        return Transfer<uint16_t>(access, narrow);
      case 0:
        return Transfer<uint8_t>(access, narrow);
      default:
        return Transfer<uint64_t>(access, wide);
    }
  }

  template <typename T, typename Value>
  static void Transfer(const Access& access, volatile Value* value) {
    if ((access.kind & kWrite) != 0) [[likely]] {
      Store<T>(access.place, static_cast<T>(*value));
    } else {
      *value = Load<T>(access.place);
    }
  }

  NamedFor mapping_;
  volatile std::byte* const start_;
  const uint64_t size_;
  const std::vector<Access> accesses_;
  const std::shared_ptr<Values> values_;
  const Row row_;
};

// Makes the accesses that the mailbox names; sets nothing but failed_at.
inline int32_t RunPrepared(HandleTable<Prepared>& all, HandleTable<Mapping>& mappings,
                           Mailbox& mailbox) {
  Prepared* prepared = all.Find(mailbox.prepared);
  if (prepared == nullptr) return kRefused;
  return prepared->Run(mappings, &mailbox.failed_at);
}

void ExportPrepared(Napi::Env env, Napi::Object exports);
