#pragma once

#include <napi.h>

void ExportEventfd(Napi::Env env, Napi::Object exports);
