#pragma once

#include <napi.h>

// The VFIO device of a KVM VM, which tells KVM of VFIO devices and them of KVM.
void ExportKvm(Napi::Env env, Napi::Object exports);
