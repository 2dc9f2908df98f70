#include "migration.h"

#include <unistd.h>

#include <cstring>
#include <utility>

#include "answers.h"
#include "arguments.h"
#include "export.h"
#include "feature.h"
#include "system_call.h"
#include "uapi/feature.h"

namespace {

// setMigrationState(device, state) -> the handle of the data's descriptor, or 0 where the kernel
// made none
Call SetMigrationState(const Napi::CallbackInfo& info) {
  auto device = LeaseArgument(info, 0);
  const auto state = Uint32Argument(info, 1);
  if (!device || !state) return {};
  return [device = std::move(*device), state = *state]() -> Answer {
    uapi::VfioDeviceFeatureMigState data = {};
    data.device_state = state;
    data.data_fd = -1;
    const uint32_t flags = uapi::kVfioDeviceFeatureSet | uapi::kVfioDeviceFeatureMigDeviceState;
    const int result = DeviceFeature(device.number(), flags, &data);
    if (result < 0) return result;
    return data.data_fd < 0 ? Answer(0) : FdAnswer(data.data_fd);
  };
}

// precopyInfo(data) -> the words of struct vfio_precopy_info
Call PrecopyInfo(const Napi::CallbackInfo& info) {
  auto fd = LeaseArgument(info, 0);
  if (!fd) return {};
  return [fd = std::move(*fd)]() -> Answer {
    uapi::VfioPrecopyInfo arg = {};
    arg.argsz = sizeof(arg);
    const int result = Ioctl(fd.number(), uapi::kVfioMigGetPrecopyInfo, &arg);
    if (result < 0) return result;
    const Room<uint32_t> words(sizeof(arg) / sizeof(uint32_t));
    if (words) std::memcpy(words.data(), &arg, sizeof(arg));
    return WordsAnswer(words);
  };
}

// readData(data, length) -> as many bytes as there are, at most so many; none at the end
Call ReadData(const Napi::CallbackInfo& info) {
  auto fd = LeaseArgument(info, 0);
  const auto length = Uint32Argument(info, 1);
  if (!fd || !length || *length > (uint32_t{1} << 30)) return {};
  return [fd = std::move(*fd), length = *length]() -> Answer {
    Room<uint8_t> bytes(length);
    if (!bytes) return -ENOMEM;
    const int result = RetryOnSignal([&] { return read(fd.number(), bytes.data(), bytes.size()); });
    if (result < 0) return result;
    bytes.Shrink(static_cast<size_t>(result));
    return BytesAnswer(bytes);
  };
}

// writeData(data, bytes) -> how many of them were taken
Call WriteData(const Napi::CallbackInfo& info) {
  auto fd = LeaseArgument(info, 0);
  const auto data = Uint8ArrayArgument(info, 1, 0);
  if (!fd || !data || data->size() > (size_t{1} << 30)) return {};
  return [fd = std::move(*fd), bytes = Room<uint8_t>(*data)]() -> Answer {
    if (!bytes) return -ENOMEM;
    return RetryOnSignal([&] { return write(fd.number(), bytes.data(), bytes.size()); });
  };
}

}  // namespace

void ExportMigration(Napi::Env env, Napi::Object exports) {
  ExportSlowCall<SetMigrationState>(env, exports, "setMigrationState");
  ExportSlowCall<PrecopyInfo>(env, exports, "precopyInfo");
  ExportSlowCall<ReadData>(env, exports, "readData");
  ExportSlowCall<WriteData>(env, exports, "writeData");
}
