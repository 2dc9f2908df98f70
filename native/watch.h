#pragma once

#include <napi.h>

// Waiting until something changes in a folder, by inotify.
void ExportWatch(Napi::Env env, Napi::Object exports);
