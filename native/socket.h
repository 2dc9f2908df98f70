#pragma once

#include <napi.h>

void ExportSocket(Napi::Env env, Napi::Object exports);
