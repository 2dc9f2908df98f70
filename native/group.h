#pragma once

#include <napi.h>

// The ioctls of an IOMMU group's fd, /dev/vfio/<group>.
void ExportGroup(Napi::Env env, Napi::Object exports);
