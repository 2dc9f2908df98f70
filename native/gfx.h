#pragma once

#include <napi.h>

// The picture of a device that is a display.
void ExportGfx(Napi::Env env, Napi::Object exports);
