#include "ioeventfd.h"

#include <utility>

#include "arguments.h"
#include "export.h"
#include "system_call.h"
#include "uapi/vfio.h"

namespace {

// ioeventfd(device, width in bytes, [offset, value], eventfd or 0 to end it)
Call Ioeventfd(const Napi::CallbackInfo& info) {
  auto device = LeaseArgument(info, 0);
  const auto width = Uint32Argument(info, 1);
  const auto longs = BigUint64ArrayArgument(info, 2, 2);
  const auto handle = Uint32Argument(info, 3);
  auto event = LeaseArgument(info, 3);
  if (!device || !width || !longs || !handle || (*handle != 0 && !event)) return {};
  uapi::VfioDeviceIoeventfd arg = {};
  arg.argsz = sizeof(arg);
  arg.flags = *width;  // VFIO_DEVICE_IOEVENTFD_8 … _64 are 1, 2, 4 and 8
  arg.offset = longs->data()[0];
  arg.data = longs->data()[1];
  return [device = std::move(*device), event = std::move(event), arg]() -> Answer {
    uapi::VfioDeviceIoeventfd copy = arg;
    copy.fd = event ? event->number() : -1;
    return Ioctl(device.number(), uapi::kVfioDeviceIoeventfd, &copy);
  };
}

}  // namespace

void ExportIoeventfd(Napi::Env env, Napi::Object exports) {
  ExportSlowCall<Ioeventfd>(env, exports, "ioeventfd");
}
