#pragma once

#include <napi.h>

#include <cstdint>
#include <optional>

// Reading and writing the regions of a device through its descriptor, where each has its place.

// A place in a device's descriptor, from three arguments: the two halves of where a region begins,
// which is the kernel's own 64-bit number, and an offset in the region.
std::optional<int64_t> PositionArgument(const Napi::CallbackInfo& info, size_t index);

void ExportRegion(Napi::Env env, Napi::Object exports);
