#pragma once

#include <napi.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "mapping.h"
#include "mmio.h"

// Accesses of one mapping that are made in their order by a call without arguments. Their places
// are checked once: a mapping never changes, and the handle of one that is closed names nothing.
class Prepared {
 public:
  // The binary logarithm of the width in bytes, and whether it writes.
  static constexpr uint8_t kWidth = 3;
  static constexpr uint8_t kWrite = 4;

  struct Access {
    uint64_t offset;
    uint8_t kind;
  };

  // What the accesses write and have read. JavaScript shows it, and may keep it for longer.
  struct Values {
    explicit Values(size_t count) : words(count + (count + 1) / 2) {}
    // One of 64 bits for each access, then one of 32 bits for each.
    std::vector<uint64_t> words;
  };

  Prepared(uint32_t mapping, std::vector<Access> accesses);

  uint32_t mapping() const { return mapping_; }
  const std::shared_ptr<Values>& values() const { return values_; }

  // Makes the accesses; `mapping` is what the handle names. kDone, or -EIO and which one faulted.
  int32_t Run(const Mapping& mapping, uint32_t* failed_at) const;

 private:
  const uint32_t mapping_;
  const std::vector<Access> accesses_;
  const std::shared_ptr<Values> values_;
};

struct Addon;

// Makes the accesses that the mailbox names; sets nothing but failed_at.
int32_t RunPrepared(Addon& addon, Mailbox& mailbox);

void ExportPrepared(Napi::Env env, Napi::Object exports);
