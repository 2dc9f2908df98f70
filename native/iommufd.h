#pragma once

#include <napi.h>

// The ioctls of a /dev/iommu fd.
void ExportIommufd(Napi::Env env, Napi::Object exports);
