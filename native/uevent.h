#pragma once

#include <napi.h>

// What the kernel tells of its devices: uevents, by netlink.
void ExportUevent(Napi::Env env, Napi::Object exports);
