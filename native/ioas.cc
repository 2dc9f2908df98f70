#include "hot.h"

#include "ioas.h"

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "answers.h"
#include "arguments.h"
#include "export.h"
#include "fd.h"
#include "memory.h"
#include "system_call.h"
#include "uapi/iommufd.h"

// Numbers of 64 bits are BigInts. What the kernel answers as one is a BigInt, so that it cannot be
// taken for -errno.

uint64_t AddressOf(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer); }

namespace {

// Where a mapping goes, which all ways of making one share: (iommufd, ioas, flags, …, length, iova)
struct Target {
  FdLease iommufd;
  MapPlace place;
};

std::optional<Target> TargetArguments(const Napi::CallbackInfo& info, size_t length_at) {
  auto iommufd = LeaseArgument(info, 0);
  const auto ioas = Uint32Argument(info, 1);
  const auto flags = Uint32Argument(info, 2);
  const auto length = Uint64Argument(info, length_at);
  const auto iova = Uint64Argument(info, length_at + 1);
  if (!iommufd || !ioas || !flags || !length || !iova) return std::nullopt;
  return Target{std::move(*iommufd), {*ioas, *flags, *length, *iova}};
}

// Makes a map by `map`, and answers where it is.
template <typename Map>
Answer MapAnswer(const Target& target, const Map& map) {
  const Fd* iommufd = target.iommufd.get();
  if (iommufd == nullptr) return -EBADF;
  MapPlace place = target.place;
  const int result = map(*iommufd, &place);
  return BigOr(result, place.iova);
}

// ioasMap(iommufd, ioas, flags, address, length, iova) -> iova
Call IoasMap(const Napi::CallbackInfo& info) {
  auto target = TargetArguments(info, 4);
  const auto address = Uint64Argument(info, 3);
  if (!target || !address) return {};
  return [target = std::move(*target), address = *address] {
    return MapAnswer(target, [&](const Fd& iommufd, MapPlace* place) {
      return MapAddress(iommufd, place, address, nullptr);
    });
  };
}

// A part of a memory, and where it goes: (iommufd, ioas, flags, memory, offset, length, iova)
struct MemoryTarget {
  Target target;
  std::shared_ptr<Memory> memory;
  uint64_t offset;
};

// Nothing where the memory has no such part.
std::optional<MemoryTarget> MemoryArguments(const Napi::CallbackInfo& info) {
  std::shared_ptr<Memory> memory = MemoryArgument(info, 3);
  const auto offset = Uint64Argument(info, 4);
  auto target = TargetArguments(info, 5);
  if (!memory || !offset || !target) return std::nullopt;
  if (!memory->Has(*offset, target->place.length)) return std::nullopt;
  return MemoryTarget{std::move(*target), std::move(memory), *offset};
}

// ioasMapMemory(iommufd, ioas, flags, memory, offset, length, iova) -> iova
Call IoasMapMemory(const Napi::CallbackInfo& info) {
  auto arguments = MemoryArguments(info);
  if (!arguments) return {};
  return [arguments = std::move(*arguments)] {
    // By name: clang before 16 takes no part of a binding into a lambda.
    const std::shared_ptr<Memory>& memory = arguments.memory;
    const uint64_t address = AddressOf(memory->data() + arguments.offset);
    return MapAnswer(arguments.target, [&](const Fd& iommufd, MapPlace* place) {
      return MapAddress(iommufd, place, address, memory);
    });
  };
}

// ioasMapMemoryFile(…): the same by the memory's file, where the kernel can (Linux 6.13)
Call IoasMapMemoryFile(const Napi::CallbackInfo& info) {
  auto arguments = MemoryArguments(info);
  if (!arguments) return {};
  return [arguments = std::move(*arguments)] {
    return MapAnswer(arguments.target, [&](const Fd& iommufd, MapPlace* place) {
      return MapFile(iommufd, place, arguments.memory->fd(), arguments.offset);
    });
  };
}

// ioasMapFile(iommufd, ioas, flags, descriptor's number, offset, length, iova) -> iova
Call IoasMapFile(const Napi::CallbackInfo& info) {
  const auto number = Uint32Argument(info, 3);
  const auto offset = Uint64Argument(info, 4);
  auto target = TargetArguments(info, 5);
  if (!number || !offset || !target) return {};
  // A copy, since its owner may close the number while the call is on its way.
  const int copy = Duplicate(static_cast<int>(*number));
  if (copy < 0) return [copy] { return copy; };
  return [target = std::move(*target), fd = std::make_shared<Fd>(copy), offset = *offset] {
    return MapAnswer(target, [&](const Fd& iommufd, MapPlace* place) {
      return MapFile(iommufd, place, fd->number(), offset);
    });
  };
}

// ioasUnmap(iommufd, ioas, iova, length) -> bytes that were mapped there
Call IoasUnmap(const Napi::CallbackInfo& info) {
  auto iommufd = LeaseArgument(info, 0);
  const auto ioas = Uint32Argument(info, 1);
  const auto iova = Uint64Argument(info, 2);
  const auto length = Uint64Argument(info, 3);
  if (!iommufd || !ioas || !iova || !length) return {};
  const MapExtent range = {*ioas, *iova, *length};
  return [iommufd = std::move(*iommufd), range]() -> Answer {
    if (iommufd.get() == nullptr) return -EBADF;
    uint64_t bytes = 0;
    const int result = UnmapRange(*iommufd.get(), range, &bytes);
    return BigOr(result, bytes);
  };
}

// The copies of what was mapped there before the call, and of what is after it: another thread may
// have mapped something else in its place, and which of the two was copied is not known.
void AddCopies(KeptMaps& maps, const std::vector<KeptMaps::Mapped>& before,
               const std::vector<KeptMaps::Mapped>& after, uint64_t iova) {
  const auto add = [&](MapExtent extent, const std::shared_ptr<Memory>& memory) {
    extent.iova += iova;
    maps.Add(extent, memory);
  };
  for (const auto& [extent, memory] : before) add(extent, memory);
  for (const auto& copy : after) {
    if (std::ranges::find(before, copy) == before.end()) add(copy.first, copy.second);
  }
}

// ioasCopy(iommufd, ioas, flags, source ioas, source iova, length, iova) -> iova
Call IoasCopy(const Napi::CallbackInfo& info) {
  auto target = TargetArguments(info, 5);
  const auto source = Uint32Argument(info, 3);
  const auto source_iova = Uint64Argument(info, 4);
  if (!target || !source || !source_iova) return {};
  return [target = std::move(*target), source = *source, source_iova = *source_iova]() -> Answer {
    const auto& [iommufd, place] = target;
    if (iommufd.number() < 0) return iommufd.number();
    KeptMaps& maps = iommufd.file()->maps;
    const MapExtent from = {source, source_iova, place.length};
    const auto before = maps.CopiesOf(from, place.ioas, 0);
    uapi::IommuIoasCopy arg = {};
    arg.size = sizeof(arg);
    arg.flags = place.flags;
    arg.dst_ioas_id = place.ioas;
    arg.src_ioas_id = source;
    arg.length = place.length;
    arg.dst_iova = place.iova;
    arg.src_iova = source_iova;
    const int result = Ioctl(iommufd.number(), uapi::kIommuIoasCopy, &arg);
    if (result >= 0) AddCopies(maps, before, maps.CopiesOf(from, place.ioas, 0), arg.dst_iova);
    return BigOr(result, arg.dst_iova);
  };
}

// ioasIovaRanges(iommufd, ioas, room [alignment, start, last, start, last …]) -> how many ranges
// there are, which may be more than the room holds; it holds the first then
std::optional<Answer> IoasIovaRanges(const Napi::CallbackInfo& info) {
  const auto iommufd = FdArgument(info, 0);
  const auto ioas = Uint32Argument(info, 1);
  const auto room = BigUint64ArrayArgument(info, 2, 1);
  if (!iommufd || !ioas || !room) return {};
  uapi::IommuIoasIovaRanges arg = {};
  arg.size = sizeof(arg);
  arg.ioas_id = *ioas;
  arg.num_iovas = static_cast<uint32_t>((room->size() - 1) / 2);
  arg.allowed_iovas = AddressOf(room->data() + 1);
  const int result = Ioctl(*iommufd, uapi::kIommuIoasIovaRanges, &arg);
  room->data()[0] = arg.out_iova_alignment;
  // EMSGSIZE says only that there are more.
  if (result < 0 && result != -EMSGSIZE) return result;
  return arg.num_iovas;
}

// ioasAllowIovas(iommufd, ioas, ranges [start, last, start, last …])
std::optional<Answer> IoasAllowIovas(const Napi::CallbackInfo& info) {
  const auto iommufd = FdArgument(info, 0);
  const auto ioas = Uint32Argument(info, 1);
  const auto ranges = BigUint64ArrayArgument(info, 2, 0);
  if (!iommufd || !ioas || !ranges || ranges->size() % 2 != 0) return {};
  uapi::IommuIoasAllowIovas arg = {};
  arg.size = sizeof(arg);
  arg.ioas_id = *ioas;
  arg.num_iovas = static_cast<uint32_t>(ranges->size() / 2);
  arg.allowed_iovas = AddressOf(ranges->data());
  return Ioctl(*iommufd, uapi::kIommuIoasAllowIovas, &arg);
}

// iommuOption(iommufd, option, operation, object, value) -> the option's value
std::optional<Answer> IommuOption(const Napi::CallbackInfo& info) {
  const auto iommufd = FdArgument(info, 0);
  const auto option = Uint32Argument(info, 1);
  const auto operation = Uint32Argument(info, 2);
  const auto object = Uint32Argument(info, 3);
  const auto value = Uint64Argument(info, 4);
  if (!iommufd || !option || !operation || !object || !value) return {};
  if (*operation > UINT16_MAX) return {};
  uapi::IommuOption arg = {};
  arg.size = sizeof(arg);
  arg.option_id = *option;
  arg.op = static_cast<uint16_t>(*operation);
  arg.object_id = *object;
  arg.val64 = *value;
  const int result = Ioctl(*iommufd, uapi::kIommuOption, &arg);
  return BigOr(result, arg.val64);
}

// ioasPhysicalAddress(iommufd, ioas, iova, length, out [contiguous bytes]) -> the address; of an
// address space whose devices have no IOMMU
std::optional<Answer> IoasPhysicalAddress(const Napi::CallbackInfo& info) {
  const auto iommufd = FdArgument(info, 0);
  const auto ioas = Uint32Argument(info, 1);
  const auto iova = Uint64Argument(info, 2);
  const auto length = Uint64Argument(info, 3);
  const auto out = BigUint64ArrayArgument(info, 4, 1);
  if (!iommufd || !ioas || !iova || !length || !out) return {};
  uapi::IommuIoasNoiommuGetPa arg = {};
  arg.size = sizeof(arg);
  arg.ioas_id = *ioas;
  arg.iova = *iova;
  arg.length = *length;
  const int result = Ioctl(*iommufd, uapi::kIommuIoasNoiommuGetPa, &arg);
  out->data()[0] = arg.length;
  return BigOr(result, arg.out_phys);
}

// ioasChangeProcess(iommufd): slow, since it waits for the maps that are being made
Call IoasChangeProcess(const Napi::CallbackInfo& info) {
  const auto iommufd = LeaseArgument(info, 0);
  if (!iommufd) return {};
  return [iommufd = *iommufd]() -> Answer {
    uapi::IommuIoasChangeProcess arg = {};
    arg.size = sizeof(arg);
    return Ioctl(iommufd.number(), uapi::kIommuIoasChangeProcess, &arg);
  };
}

// iommufdProbe(iommufd, request) -> -EINVAL where the kernel knows the request, -ENOTTY where not:
// a struct of its size field alone is too short for every one, which is looked at first
std::optional<Answer> IommufdProbe(const Napi::CallbackInfo& info) {
  const auto iommufd = FdArgument(info, 0);
  const auto request = Uint32Argument(info, 1);
  if (!iommufd || !request) return {};
  uint32_t size = sizeof(size);
  return Ioctl(*iommufd, *request, &size);
}

}  // namespace

// The pages are kept, where they are ours, until the map is gone.
int MapAddress(const Fd& iommufd, MapPlace* place, uint64_t address,
               std::shared_ptr<Memory> memory) {
  KeptMaps& maps = iommufd.file()->maps;
  const int error = maps.Prepare(iommufd.number());
  if (error < 0) return error;
  uapi::IommuIoasMap arg = {};
  arg.size = sizeof(arg);
  arg.flags = place->flags;
  arg.ioas_id = place->ioas;
  arg.user_va = address;
  arg.length = place->length;
  arg.iova = place->iova;
  const int result = Ioctl(iommufd.number(), uapi::kIommuIoasMap, &arg);
  if (result >= 0) maps.Add({place->ioas, arg.iova, place->length}, std::move(memory));
  place->iova = arg.iova;
  return result;
}

int MapFile(const Fd& iommufd, MapPlace* place, int fd, uint64_t offset) {
  uapi::IommuIoasMapFile arg = {};
  arg.size = sizeof(arg);
  arg.flags = place->flags;
  arg.ioas_id = place->ioas;
  arg.fd = fd;
  arg.start = offset;
  arg.length = place->length;
  arg.iova = place->iova;
  const int result = Ioctl(iommufd.number(), uapi::kIommuIoasMapFile, &arg);
  place->iova = arg.iova;
  return result;
}

int UnmapRange(const Fd& iommufd, const MapExtent& range, uint64_t* bytes) {
  KeptMaps& maps = iommufd.file()->maps;
  const KeptMaps::Moment before = maps.now();
  const int result = UnmapIoas(iommufd.number(), range, bytes);
  if (result >= 0) maps.RemoveWithin(range, before);
  // Where the range cuts another map, those behind it may still be there: not one that fills it.
  if (result == -ENOENT) maps.RemoveExactly(range, before);
  return result;
}

int UnmapIoas(int iommufd, const MapExtent& range, uint64_t* bytes) {
  uapi::IommuIoasUnmap arg = {};
  arg.size = sizeof(arg);
  arg.ioas_id = range.ioas;
  arg.iova = range.iova;
  arg.length = range.length;
  const int result = Ioctl(iommufd, uapi::kIommuIoasUnmap, &arg);
  *bytes = arg.length;
  return result;
}

void ExportIoas(Napi::Env env, Napi::Object exports) {
  ExportSlowCall<IoasMap>(env, exports, "ioasMap");
  ExportPromise<IoasMapMemory>(env, exports, "ioasMapMemory");
  ExportPromise<IoasMapMemoryFile>(env, exports, "ioasMapMemoryFile");
  ExportSlowCall<IoasMapFile>(env, exports, "ioasMapFile");
  ExportPromise<IoasUnmap>(env, exports, "ioasUnmap");
  ExportSlowCall<IoasCopy>(env, exports, "ioasCopy");
  ExportSlowCall<IoasChangeProcess>(env, exports, "ioasChangeProcess");
  ExportShortCall<IoasIovaRanges>(env, exports, "ioasIovaRanges");
  ExportShortCall<IoasAllowIovas>(env, exports, "ioasAllowIovas");
  ExportShortCall<IoasPhysicalAddress>(env, exports, "ioasPhysicalAddress");
  ExportShortCall<IommuOption>(env, exports, "iommuOption");
  ExportShortCall<IommufdProbe>(env, exports, "iommufdProbe");
}
