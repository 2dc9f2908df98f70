#pragma once

#include <napi.h>

// Writes to a device that the kernel makes whenever an eventfd is signalled.
void ExportIoeventfd(Napi::Env env, Napi::Object exports);
