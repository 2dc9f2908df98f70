#pragma once

#include <napi.h>

void ExportFindEntries(Napi::Env env, Napi::Object exports);
