#pragma once

#include <napi.h>

// Moving a VFIO device's state: its arcs, and the descriptor that the state flows over.
void ExportMigration(Napi::Env env, Napi::Object exports);
