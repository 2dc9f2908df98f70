#include "group.h"

#include <string>
#include <utility>

#include "answers.h"
#include "arguments.h"
#include "export.h"
#include "system_call.h"
#include "uapi/group.h"

namespace {

// groupStatus(group) -> flags
std::optional<Answer> GroupStatus(const Napi::CallbackInfo& info) {
  const auto group = FdArgument(info, 0);
  if (!group) return {};
  uapi::VfioGroupStatus arg = {};
  arg.argsz = sizeof(arg);
  const int result = Ioctl(*group, uapi::kVfioGroupGetStatus, &arg);
  return ValueOr(result, arg.flags);
}

// groupSetContainer(group, container or iommufd): slow, since the container's IOMMU takes the group
Call GroupSetContainer(const Napi::CallbackInfo& info) {
  auto group = LeaseArgument(info, 0);
  auto container = LeaseArgument(info, 1);
  if (!group || !container) return {};
  return [group = std::move(*group), container = std::move(*container)]() -> Answer {
    int32_t number = container.number();
    const int result = Ioctl(group.number(), uapi::kVfioGroupSetContainer, &number);
    if (result >= 0) group.file()->Hold(container.file());
    return result;
  };
}

// groupGetDevice(group, name) -> handle: slow, since it opens the device, which resets it. The
// kernel makes the descriptor close-on-exec.
Call GroupGetDevice(const Napi::CallbackInfo& info) {
  auto group = LeaseArgument(info, 0);
  auto name = StringArgument(info, 1);
  if (!group || !name) return {};
  return [group = std::move(*group), name = std::move(*name)]() -> Answer {
    const int fd = Ioctl(group.number(), uapi::kVfioGroupGetDeviceFd, name.c_str());
    if (fd < 0) return fd;
    auto file = std::make_shared<OpenFile>();
    file->Hold(group.file());
    return FdAnswer(fd, std::move(file));
  };
}

}  // namespace

void ExportGroup(Napi::Env env, Napi::Object exports) {
  ExportShortCall<GroupStatus>(env, exports, "groupStatus");
  ExportSlowCall<GroupSetContainer>(env, exports, "groupSetContainer");
  ExportSlowCall<GroupGetDevice>(env, exports, "groupGetDevice");
}
