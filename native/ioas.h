#pragma once

#include <napi.h>

// The ioctls of a /dev/iommu fd that concern an address space, and its options.
void ExportIoas(Napi::Env env, Napi::Object exports);
