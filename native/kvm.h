#pragma once

#include <napi.h>

#include "fd.h"

// The VFIO device of a KVM VM, which tells KVM of VFIO devices and them of KVM.
// Tells the VFIO device of a VM of a device or a group: 0 or -errno. KVM keeps the file open until
// it is taken away, or KVM's own device is closed.
int AddToKvm(const FdLease& kvm, const FdLease& file);

void ExportKvm(Napi::Env env, Napi::Object exports);
