#pragma once

#include <napi.h>

// The ioctls of a container, /dev/vfio/vfio.
void ExportContainer(Napi::Env env, Napi::Object exports);
