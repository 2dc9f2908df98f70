#pragma once

#include <napi.h>

// The ioctls of a /dev/iommu fd that concern page tables of the hardware (HWPT) and its abilities.
void ExportHwpt(Napi::Env env, Napi::Object exports);
