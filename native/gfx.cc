#include "gfx.h"

#include <fcntl.h>

#include <cstring>
#include <utility>

#include "answers.h"
#include "arguments.h"
#include "export.h"
#include "system_call.h"
#include "uapi/vfio.h"

namespace {

// queryGfxPlane(device, flags, plane type) -> the words of struct vfio_device_gfx_plane_info
Call QueryGfxPlane(const Napi::CallbackInfo& info) {
  auto device = LeaseArgument(info, 0);
  const auto flags = Uint32Argument(info, 1);
  const auto type = Uint32Argument(info, 2);
  if (!device || !flags || !type) return {};
  return [device = std::move(*device), flags = *flags, type = *type]() -> Answer {
    uapi::VfioDeviceGfxPlaneInfo arg = {};
    arg.argsz = sizeof(arg);
    arg.flags = flags;
    arg.drm_plane_type = type;
    const int result = Ioctl(device.number(), uapi::kVfioDeviceQueryGfxPlane, &arg);
    if (result < 0) return result;
    const Room<uint32_t> words(sizeof(arg) / sizeof(uint32_t));
    if (words) std::memcpy(words.data(), &arg, sizeof(arg));
    return WordsAnswer(words);
  };
}

// getGfxDmabuf(device, id) -> handle
Call GetGfxDmabuf(const Napi::CallbackInfo& info) {
  auto device = LeaseArgument(info, 0);
  const auto id = Uint32Argument(info, 1);
  if (!device || !id) return {};
  return [device = std::move(*device), id = *id]() -> Answer {
    uint32_t arg = id;
    const int fd = Ioctl(device.number(), uapi::kVfioDeviceGetGfxDmabuf, &arg);
    // No flag of this ioctl asks for it, and drivers do not do it by themselves.
    if (fd >= 0) fcntl(fd, F_SETFD, FD_CLOEXEC);
    return FdAnswer(fd);
  };
}

}  // namespace

void ExportGfx(Napi::Env env, Napi::Object exports) {
  ExportSlowCall<QueryGfxPlane>(env, exports, "queryGfxPlane");
  ExportSlowCall<GetGfxDmabuf>(env, exports, "getGfxDmabuf");
}
