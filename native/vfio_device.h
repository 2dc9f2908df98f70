#pragma once

#include <napi.h>

// The ioctls of a VFIO device fd.
void ExportVfioDevice(Napi::Env env, Napi::Object exports);
