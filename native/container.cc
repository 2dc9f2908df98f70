#include "container.h"

#include <cstring>
#include <memory>
#include <utility>

#include "answers.h"
#include "arguments.h"
#include "export.h"
#include "memory.h"
#include "room.h"
#include "system_call.h"
#include "uapi/group.h"

namespace {

// containerVersion(container) -> VFIO_API_VERSION
std::optional<Answer> ContainerVersion(const Napi::CallbackInfo& info) {
  const auto container = FdArgument(info, 0);
  if (!container) return {};
  return Ioctl(*container, uapi::kVfioGetApiVersion);
}

// containerCheck(container, extension) -> above 0 where it has it
std::optional<Answer> ContainerCheck(const Napi::CallbackInfo& info) {
  const auto container = FdArgument(info, 0);
  const auto extension = Uint32Argument(info, 1);
  if (!container || !extension) return {};
  return Ioctl(*container, uapi::kVfioCheckExtension, *extension);
}

// containerSetIommu(container, type): slow, since it gives the groups their page tables
Call ContainerSetIommu(const Napi::CallbackInfo& info) {
  auto container = LeaseArgument(info, 0);
  const auto type = Uint32Argument(info, 1);
  if (!container || !type) return {};
  return [container = std::move(*container), type = *type]() -> Answer {
    return Ioctl(container.number(), uapi::kVfioSetIommu, type);
  };
}

// containerInfo(container, room): fills the room with struct vfio_iommu_type1_info and the
// capabilities that fit
std::optional<Answer> ContainerInfo(const Napi::CallbackInfo& info) {
  constexpr size_t kWords = sizeof(uapi::VfioIommuType1Info) / sizeof(uint32_t);
  const auto container = FdArgument(info, 0);
  const auto room = Uint32ArrayArgument(info, 1, kWords);
  if (!container || !room) return {};
  uapi::VfioIommuType1Info header = {};
  header.argsz = static_cast<uint32_t>(room->size_bytes());
  std::memcpy(room->data(), &header, sizeof(header));
  return Ioctl(*container, uapi::kVfioIommuGetInfo, room->data());
}

// Where a mapping goes: (container, flags, …, length, iova)
struct Place {
  FdLease container;
  uint32_t flags;
  uint64_t length;
  uint64_t iova;
};

std::optional<Place> PlaceArguments(const Napi::CallbackInfo& info, size_t length_at) {
  const auto container = LeaseArgument(info, 0);
  const auto flags = Uint32Argument(info, 1);
  const auto length = Uint64Argument(info, length_at);
  const auto iova = Uint64Argument(info, length_at + 1);
  if (!container || !flags || !length || !iova) return std::nullopt;
  return Place{*container, *flags, *length, *iova};
}

// The address that was mapped, as iommufd's calls answer it. Keeps the memory, where it is ours,
// until the map is gone.
Answer MapAt(const Place& place, uint64_t address, std::shared_ptr<Memory> memory) {
  if (place.container.number() < 0) return place.container.number();
  KeptMaps& maps = place.container.file()->maps;
  const int error = maps.Prepare(place.container.number());
  if (error < 0) return error;
  uapi::VfioIommuType1DmaMap arg = {};
  arg.argsz = sizeof(arg);
  arg.flags = place.flags;
  arg.vaddr = address;
  arg.iova = place.iova;
  arg.size = place.length;
  const int result = Ioctl(place.container.number(), uapi::kVfioIommuMapDma, &arg);
  if (result >= 0) maps.Add({0, arg.iova, place.length}, std::move(memory));
  return BigOr(result, arg.iova);
}

// containerMap(container, flags, address, length, iova) -> iova
Call ContainerMap(const Napi::CallbackInfo& info) {
  const auto address = Uint64Argument(info, 2);
  const auto place = PlaceArguments(info, 3);
  if (!place || !address) return {};
  return [place = *place, address = *address] { return MapAt(place, address, nullptr); };
}

// containerMapMemory(container, flags, memory, offset, length, iova) -> iova
Call ContainerMapMemory(const Napi::CallbackInfo& info) {
  std::shared_ptr<Memory> memory = MemoryArgument(info, 2);
  const auto offset = Uint64Argument(info, 3);
  const auto place = PlaceArguments(info, 4);
  if (!memory || !offset || !place || !memory->Has(*offset, place->length)) return {};
  return [place = *place, memory = std::move(memory), offset = *offset] {
    return MapAt(place, reinterpret_cast<uintptr_t>(memory->data() + offset), memory);
  };
}

// What is certain to be gone: a map that fills the range, also where there is none any more (0
// bytes, or EINVAL); the others where all their bytes were unmapped, since older kernels stop at
// the first map of another process.
//
// `wanted`: the bytes of all, summed up before: another thread may have noted since that some are
// gone.
void RemoveUnmapped(KeptMaps& maps, KeptMaps::Moment before, const MapExtent& range, int result,
                    uint64_t bytes, uint64_t wanted) {
  if (result >= 0 && bytes >= wanted) {
    maps.RemoveWithin(range, before);
  } else if (result >= 0 || result == -EINVAL) {
    maps.RemoveExactly(range, before);
  }
}

// containerUnmap(container, flags, iova, length) -> bytes that were mapped there
Call ContainerUnmap(const Napi::CallbackInfo& info) {
  auto container = LeaseArgument(info, 0);
  const auto flags = Uint32Argument(info, 1);
  const auto iova = Uint64Argument(info, 2);
  const auto length = Uint64Argument(info, 3);
  if (!container || !flags || !iova || !length) return {};
  return [container = std::move(*container), flags = *flags, iova = *iova,
          length = *length]() -> Answer {
    if (container.number() < 0) return container.number();
    const bool is_all = (flags & uapi::kVfioDmaUnmapFlagAll) != 0;
    const MapExtent range = {0, iova, is_all ? UINT64_MAX : length};
    KeptMaps& maps = container.file()->maps;
    const KeptMaps::Moment before = maps.now();
    const uint64_t wanted = maps.BytesWithin(range, before);
    uint64_t bytes = 0;
    const int result = UnmapContainer(container.number(), flags, iova, length, &bytes);
    RemoveUnmapped(maps, before, range, result, bytes, wanted);
    return BigOr(result, bytes);
  };
}

// containerTrackDirty(container, flags): starts or stops. Slow, since it takes memory for all that
// is mapped.
Call ContainerTrackDirty(const Napi::CallbackInfo& info) {
  auto container = LeaseArgument(info, 0);
  const auto flags = Uint32Argument(info, 1);
  if (!container || !flags) return {};
  return [container = std::move(*container), flags = *flags]() -> Answer {
    uapi::VfioIommuType1DirtyBitmap arg = {};
    arg.argsz = sizeof(arg);
    arg.flags = flags;
    return Ioctl(container.number(), uapi::kVfioIommuDirtyPages, &arg);
  };
}

// A range, and a bit for each of its pages: (container, iova, length, page size, words)
struct DirtyPlace {
  FdLease container;
  uint64_t iova;
  uint64_t length;
  uint64_t page;
  uint32_t words;
};

std::optional<DirtyPlace> DirtyArguments(const Napi::CallbackInfo& info) {
  const auto container = LeaseArgument(info, 0);
  const auto iova = Uint64Argument(info, 1);
  const auto length = Uint64Argument(info, 2);
  const auto page = Uint64Argument(info, 3);
  const auto words = Uint32Argument(info, 4);
  if (!container || !iova || !length || !page || !words) return std::nullopt;
  // The kernel's own limit is 2^31 pages; it writes no bit beyond those that it counts itself.
  constexpr uint32_t kMaxWords = 1 << 25;
  if (*words > kMaxWords || *page == 0 || *length / *page > uint64_t{*words} * 64) {
    return std::nullopt;
  }
  return DirtyPlace{*container, *iova, *length, *page, *words};
}

uapi::VfioBitmap BitmapOf(const DirtyPlace& place, uint64_t* words) {
  uapi::VfioBitmap bitmap = {};
  bitmap.pgsize = place.page;
  bitmap.size = uint64_t{place.words} * sizeof(uint64_t);
  bitmap.data = reinterpret_cast<uintptr_t>(words);
  return bitmap;
}

// containerDirtyBitmap(container, iova, length, page size, words) -> BigUint64Array
Call ContainerDirtyBitmap(const Napi::CallbackInfo& info) {
  const auto place = DirtyArguments(info);
  if (!place) return {};
  return [place = *place]() -> Answer {
    const Room<uint64_t> words(place.words);
    if (!words) return -ENOMEM;
    struct {
      uapi::VfioIommuType1DirtyBitmap header;
      uapi::VfioIommuType1DirtyBitmapGet get;
    } arg = {};
    arg.header.argsz = sizeof(arg);
    arg.header.flags = uapi::kVfioIommuDirtyPagesFlagGetBitmap;
    arg.get.iova = place.iova;
    arg.get.size = place.length;
    arg.get.bitmap = BitmapOf(place, words.data());
    const int result = Ioctl(place.container.number(), uapi::kVfioIommuDirtyPages, &arg);
    if (result < 0) return result;
    return LongsAnswer(words);
  };
}

// containerUnmapDirty(container, iova, length, page size, words) -> BigUint64Array: the bytes that
// were mapped, then the bitmap
Call ContainerUnmapDirty(const Napi::CallbackInfo& info) {
  const auto place = DirtyArguments(info);
  if (!place) return {};
  return [place = *place]() -> Answer {
    const int number = place.container.number();
    if (number < 0) return number;
    const Room<uint64_t> words(size_t{place.words} + 1);
    if (!words) return -ENOMEM;
    const MapExtent range = {0, place.iova, place.length};
    KeptMaps& maps = place.container.file()->maps;
    const KeptMaps::Moment before = maps.now();
    const uint64_t wanted = maps.BytesWithin(range, before);
    struct {
      uapi::VfioIommuType1DmaUnmap unmap;
      uapi::VfioBitmap bitmap;
    } arg = {};
    arg.unmap.argsz = sizeof(arg);
    arg.unmap.flags = uapi::kVfioDmaUnmapFlagGetDirtyBitmap;
    arg.unmap.iova = place.iova;
    arg.unmap.size = place.length;
    arg.bitmap = BitmapOf(place, words.data() + 1);
    const int result = Ioctl(number, uapi::kVfioIommuUnmapDma, &arg);
    // EINVAL says here, besides, that the page size is not the one that is tracked.
    if (result >= 0) RemoveUnmapped(maps, before, range, result, arg.unmap.size, wanted);
    if (result < 0) return result;
    words.data()[0] = arg.unmap.size;
    return LongsAnswer(words);
  };
}

}  // namespace

int UnmapContainer(int container, uint32_t flags, uint64_t iova, uint64_t length, uint64_t* bytes) {
  uapi::VfioIommuType1DmaUnmap arg = {};
  arg.argsz = sizeof(arg);
  arg.flags = flags;
  arg.iova = iova;
  arg.size = length;
  const int result = Ioctl(container, uapi::kVfioIommuUnmapDma, &arg);
  *bytes = arg.size;
  return result;
}

bool IsContainerEmpty(int container) {
  uapi::VfioIommuType1Info arg = {};
  arg.argsz = sizeof(arg);
  return Ioctl(container, uapi::kVfioIommuGetInfo, &arg) == -EINVAL;
}

void ExportContainer(Napi::Env env, Napi::Object exports) {
  ExportShortCall<ContainerVersion>(env, exports, "containerVersion");
  ExportShortCall<ContainerCheck>(env, exports, "containerCheck");
  ExportShortCall<ContainerInfo>(env, exports, "containerInfo");
  ExportSlowCall<ContainerSetIommu>(env, exports, "containerSetIommu");
  ExportSlowCall<ContainerMap>(env, exports, "containerMap");
  ExportSlowCall<ContainerMapMemory>(env, exports, "containerMapMemory");
  ExportSlowCall<ContainerUnmap>(env, exports, "containerUnmap");
  ExportSlowCall<ContainerTrackDirty>(env, exports, "containerTrackDirty");
  ExportSlowCall<ContainerDirtyBitmap>(env, exports, "containerDirtyBitmap");
  ExportSlowCall<ContainerUnmapDirty>(env, exports, "containerUnmapDirty");
}
