#pragma once

#include <napi.h>

// VFIO_DEVICE_SET_IRQS in its three forms.
void ExportIrqs(Napi::Env env, Napi::Object exports);
