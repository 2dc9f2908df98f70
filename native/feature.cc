#include "feature.h"

#include <fcntl.h>

#include <cstring>
#include <utility>

#include "answers.h"
#include "arguments.h"
#include "export.h"
#include "room.h"
#include "system_call.h"
#include "uapi/feature.h"

int DeviceFeature(int device, uint32_t flags, std::span<uint8_t> data) {
  uapi::VfioDeviceFeature header = {};
  // In words, so that the kernel's structs are aligned.
  const Room<uint64_t> arg((sizeof(header) + data.size() + 7) / sizeof(uint64_t));
  if (!arg) return -ENOMEM;
  header.argsz = static_cast<uint32_t>(sizeof(header) + data.size());
  header.flags = flags;
  auto* bytes = reinterpret_cast<uint8_t*>(arg.data());
  std::memcpy(bytes, &header, sizeof(header));
  if (!data.empty()) std::memcpy(bytes + sizeof(header), data.data(), data.size());
  const int result = Ioctl(device, uapi::kVfioDeviceFeature, arg.data());
  if (!data.empty()) std::memcpy(data.data(), bytes + sizeof(header), data.size());
  return result;
}

namespace {

// feature(device, flags, bytes) -> the bytes as the kernel left them
Call Feature(const Napi::CallbackInfo& info) {
  auto device = LeaseArgument(info, 0);
  const auto flags = Uint32Argument(info, 1);
  const auto data = Uint8ArrayArgument(info, 2, 0);
  if (!device || !flags || !data) return {};
  return [device = std::move(*device), flags = *flags, bytes = Room<uint8_t>(*data)]() -> Answer {
    if (!bytes) return -ENOMEM;
    const int result = DeviceFeature(device.number(), flags, bytes.span());
    if (result < 0) return result;
    return BytesAnswer(bytes);
  };
}

// lowPowerWakeup(device, eventfd)
Call LowPowerWakeup(const Napi::CallbackInfo& info) {
  auto device = LeaseArgument(info, 0);
  auto event = LeaseArgument(info, 1);
  if (!device || !event) return {};
  return [device = std::move(*device), event = std::move(*event)]() -> Answer {
    uapi::VfioDeviceLowPowerEntryWithWakeup data = {};
    data.wakeup_eventfd = event.number();
    const uint32_t flags =
        uapi::kVfioDeviceFeatureSet | uapi::kVfioDeviceFeatureLowPowerEntryWithWakeup;
    return DeviceFeature(device.number(), flags, &data);
  };
}

using Range = uapi::VfioDeviceFeatureDmaLoggingRange;

// dmaLoggingStart(device, [page size, iova, length, iova, length, …]) -> page size
Call DmaLoggingStart(const Napi::CallbackInfo& info) {
  auto device = LeaseArgument(info, 0);
  const auto longs = BigUint64ArrayArgument(info, 1, 3);
  if (!device || !longs || longs->size() % 2 == 0) return {};
  return [device = std::move(*device), numbers = Room<uint64_t>(*longs)]() -> Answer {
    if (!numbers) return -ENOMEM;
    uapi::VfioDeviceFeatureDmaLoggingControl data = {};
    data.page_size = *numbers.data();
    data.num_ranges = static_cast<uint32_t>((numbers.size() - 1) / 2);
    data.ranges = reinterpret_cast<uintptr_t>(numbers.data() + 1);
    const uint32_t flags = uapi::kVfioDeviceFeatureSet | uapi::kVfioDeviceFeatureDmaLoggingStart;
    const int result = DeviceFeature(device.number(), flags, &data);
    return result < 0 ? result : static_cast<double>(data.page_size);
  };
}

// The words of a bitmap with a bit for each page; nothing where it would not be one.
std::optional<size_t> BitmapWords(uint64_t length, uint64_t page_size) {
  constexpr uint64_t kMostPages = uint64_t{1} << 32;
  if (page_size == 0 || length == 0) return std::nullopt;
  const uint64_t pages = (length - 1) / page_size + 1;
  if (pages > kMostPages) return std::nullopt;
  return static_cast<size_t>((pages + 63) / 64);
}

// dmaLoggingReport(device, [iova, length, page size]) -> bitmap
Call DmaLoggingReport(const Napi::CallbackInfo& info) {
  auto device = LeaseArgument(info, 0);
  const auto range = BigUint64ArrayArgument(info, 1, 3);
  if (!device || !range) return {};
  uapi::VfioDeviceFeatureDmaLoggingReport report = {};
  report.iova = range->data()[0];
  report.length = range->data()[1];
  report.page_size = range->data()[2];
  const auto words = BitmapWords(report.length, report.page_size);
  if (!words) return {};
  return [device = std::move(*device), report, words = *words]() -> Answer {
    const Room<uint64_t> bitmap(words);
    if (!bitmap) return -ENOMEM;
    uapi::VfioDeviceFeatureDmaLoggingReport data = report;
    data.bitmap = reinterpret_cast<uintptr_t>(bitmap.data());
    const uint32_t flags = uapi::kVfioDeviceFeatureGet | uapi::kVfioDeviceFeatureDmaLoggingReport;
    const int result = DeviceFeature(device.number(), flags, &data);
    if (result < 0) return result;
    return LongsAnswer(bitmap);
  };
}

// exportDmabuf(device, region, [offset, length, …]) -> handle
Call ExportDmabuf(const Napi::CallbackInfo& info) {
  auto device = LeaseArgument(info, 0);
  const auto region = Uint32Argument(info, 1);
  const auto longs = BigUint64ArrayArgument(info, 2, 2);
  if (!device || !region || !longs || longs->size() % 2 != 0) return {};
  return
      [device = std::move(*device), region = *region, ranges = Room<uint64_t>(*longs)]() -> Answer {
        uapi::VfioDeviceFeatureDmaBuf head = {};
        head.region_index = region;
        head.open_flags = O_RDWR | O_CLOEXEC;
        head.nr_ranges = static_cast<uint32_t>(ranges.size() / 2);
        const Room<uint8_t> data(sizeof(head) + ranges.size_bytes());
        if (!ranges || !data) return -ENOMEM;
        std::memcpy(data.data(), &head, sizeof(head));
        std::memcpy(data.data() + sizeof(head), ranges.data(), ranges.size_bytes());
        const uint32_t flags = uapi::kVfioDeviceFeatureGet | uapi::kVfioDeviceFeatureDmaBuf;
        return FdAnswer(DeviceFeature(device.number(), flags, data.span()));
      };
}

// zpciError(device, size) -> the bytes of the error
Call ZpciError(const Napi::CallbackInfo& info) {
  auto device = LeaseArgument(info, 0);
  const auto size = Uint32Argument(info, 1);
  if (!device || !size || *size > UINT16_MAX) return {};
  return [device = std::move(*device), size = *size]() -> Answer {
    const Room<uint8_t> error(size);
    if (!error) return -ENOMEM;
    uapi::VfioDeviceFeatureZpciErr data = {};
    data.data = reinterpret_cast<uintptr_t>(error.data());
    const uint32_t flags = uapi::kVfioDeviceFeatureGet | uapi::kVfioDeviceFeatureZpciError;
    const int result = DeviceFeature(device.number(), flags, &data);
    if (result < 0) return result;
    return BytesAnswer(error);
  };
}

}  // namespace

void ExportFeature(Napi::Env env, Napi::Object exports) {
  ExportSlowCall<Feature>(env, exports, "feature");
  ExportSlowCall<LowPowerWakeup>(env, exports, "lowPowerWakeup");
  ExportSlowCall<DmaLoggingStart>(env, exports, "dmaLoggingStart");
  ExportSlowCall<DmaLoggingReport>(env, exports, "dmaLoggingReport");
  ExportSlowCall<ExportDmabuf>(env, exports, "exportDmabuf");
  ExportSlowCall<ZpciError>(env, exports, "zpciError");
}
