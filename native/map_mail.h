#pragma once

#include <napi.h>

#include <cstddef>
#include <cstdint>

// The words of a map, or an unmapping, that is made here and now: lib/core/map_mail.ts writes and
// reads them. Seven arguments, three of them BigInts, and a result cost several times what is done
// with them.
struct MapMail {
  uint64_t iova;    // where to map, and where it was mapped; where to unmap
  uint64_t length;  // of what is mapped or unmapped, and how many bytes were mapped there
  uint64_t offset;  // of what is mapped, in its memory
  uint32_t iommufd;
  uint32_t ioas;
  uint32_t flags;
  uint32_t memory;
  int32_t status;  // 0, 1 where the words are refused, or -errno
};
static_assert(offsetof(MapMail, length) == 8 && offsetof(MapMail, offset) == 16 &&
              offsetof(MapMail, iommufd) == 24 && offsetof(MapMail, ioas) == 28 &&
              offsetof(MapMail, flags) == 32 && offsetof(MapMail, memory) == 36 &&
              offsetof(MapMail, status) == 40);

void ExportMapMail(Napi::Env env, Napi::Object exports);
