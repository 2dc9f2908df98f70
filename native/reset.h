#pragma once

#include <napi.h>

// Resetting a VFIO device, alone or with all that shares its bus or slot.
void ExportReset(Napi::Env env, Napi::Object exports);
