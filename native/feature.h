#pragma once

#include <napi.h>

#include <span>

// VFIO_DEVICE_FEATURE on `data`: what the ioctl answered, or -errno.
int DeviceFeature(int device, uint32_t flags, std::span<uint8_t> data);

// The same where `data` is one of the kernel's structs.
template <typename Data>
int DeviceFeature(int device, uint32_t flags, Data* data) {
  return DeviceFeature(device, flags, std::span(reinterpret_cast<uint8_t*>(data), sizeof(*data)));
}

// Features of a VFIO device: any by its bytes, and those whose bytes hold pointers or descriptors.
void ExportFeature(Napi::Env env, Napi::Object exports);
