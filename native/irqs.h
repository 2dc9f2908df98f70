#pragma once

#include <napi.h>

#include <cstdint>

// Disables all vectors of an interrupt of the device: 0 or -errno.
int DisableIrqs(int device, uint32_t index);

// VFIO_DEVICE_SET_IRQS in its three forms.
void ExportIrqs(Napi::Env env, Napi::Object exports);
