#pragma once

#include <napi.h>

// What a vIOMMU has: its devices, events and queues.
void ExportViommu(Napi::Env env, Napi::Object exports);
