#include "reset.h"

#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "addon.h"
#include "answers.h"
#include "arguments.h"
#include "export.h"
#include "system_call.h"
#include "uapi/vfio.h"

namespace {

// reset(device)
Call Reset(const Napi::CallbackInfo& info) {
  auto device = LeaseArgument(info, 0);
  if (!device) return {};
  return [device = std::move(*device)]() -> Answer {
    return Ioctl(device.number(), uapi::kVfioDeviceReset);
  };
}

// hotReset(device, groups): of a device that a group gave, with the descriptors of all groups that
// it would hit; of one that was opened by its cdev, with none
Call HotReset(const Napi::CallbackInfo& info) {
  auto device = LeaseArgument(info, 0);
  const auto handles = Uint32ArrayArgument(info, 1, 0);
  if (!device || !handles) return {};
  std::vector<FdLease> groups;
  for (const uint32_t handle : *handles) {
    std::shared_ptr<Fd> fd = AddonOf(info.Env()).fds.Share(handle);
    if (!fd) return {};
    groups.emplace_back(std::move(fd));
  }
  return [device = std::move(*device), groups = std::move(groups)]() -> Answer {
    uapi::VfioPciHotReset header = {};
    std::vector<int32_t> arg(sizeof(header) / sizeof(int32_t));
    for (const FdLease& group : groups) arg.push_back(group.number());
    header.argsz = static_cast<uint32_t>(arg.size() * sizeof(int32_t));
    header.count = static_cast<uint32_t>(groups.size());
    std::memcpy(arg.data(), &header, sizeof(header));
    return Ioctl(device.number(), uapi::kVfioDevicePciHotReset, arg.data());
  };
}

// hotResetInfo(device, count) -> the words of struct vfio_pci_hot_reset_info, with room for so many
// devices. It waits while a device that would be affected is opened or closed.
Call HotResetInfo(const Napi::CallbackInfo& info) {
  auto device = LeaseArgument(info, 0);
  const auto count = Uint32Argument(info, 1);
  if (!device || !count || *count > UINT16_MAX) return {};
  return [device = std::move(*device), count = *count]() -> Answer {
    using Header = uapi::VfioPciHotResetInfo;
    constexpr size_t kHeaderWords = sizeof(Header) / sizeof(uint32_t);
    constexpr size_t kDeviceWords = sizeof(uapi::VfioPciDependentDevice) / sizeof(uint32_t);
    const Room<uint32_t> words(kHeaderWords + count * kDeviceWords);
    if (!words) return -ENOMEM;
    Header header = {};
    header.argsz = static_cast<uint32_t>(words.size() * sizeof(uint32_t));
    std::memcpy(words.data(), &header, sizeof(header));
    const int result = Ioctl(device.number(), uapi::kVfioDeviceGetPciHotResetInfo, words.data());
    if (result < 0) return result;
    return WordsAnswer(words);
  };
}

}  // namespace

void ExportReset(Napi::Env env, Napi::Object exports) {
  ExportSlowCall<Reset>(env, exports, "reset");
  ExportSlowCall<HotReset>(env, exports, "hotReset");
  ExportSlowCall<HotResetInfo>(env, exports, "hotResetInfo");
}
