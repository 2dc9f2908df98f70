#include "ioas.h"

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "answers.h"
#include "arguments.h"
#include "export.h"
#include "memory.h"
#include "system_call.h"
#include "uapi/iommufd.h"

// Numbers of 64 bits are BigInts. What the kernel answers as one is a BigInt, so that it cannot be
// taken for -errno.

namespace {

uint64_t AddressOf(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer); }

// Where a mapping goes, which all ways of making one share: (iommufd, ioas, flags, …, length, iova)
struct Place {
  FdLease iommufd;
  uint32_t ioas;
  uint32_t flags;
  uint64_t length;
  uint64_t iova;
};

std::optional<Place> PlaceArguments(const Napi::CallbackInfo& info, size_t length_at) {
  const auto iommufd = LeaseArgument(info, 0);
  const auto ioas = Uint32Argument(info, 1);
  const auto flags = Uint32Argument(info, 2);
  const auto length = Uint64Argument(info, length_at);
  const auto iova = Uint64Argument(info, length_at + 1);
  if (!iommufd || !ioas || !flags || !length || !iova) return std::nullopt;
  return Place{*iommufd, *ioas, *flags, *length, *iova};
}

// Keeps the memory, where it is ours, until the map is gone.
Answer MapAt(const Place& place, uint64_t address, std::shared_ptr<Memory> memory) {
  if (place.iommufd.number() < 0) return place.iommufd.number();
  KeptMaps& maps = place.iommufd.file()->maps;
  const int error = maps.Prepare(place.iommufd.number());
  if (error < 0) return error;
  uapi::IommuIoasMap arg = {};
  arg.size = sizeof(arg);
  arg.flags = place.flags;
  arg.ioas_id = place.ioas;
  arg.user_va = address;
  arg.length = place.length;
  arg.iova = place.iova;
  const int result = Ioctl(place.iommufd.number(), uapi::kIommuIoasMap, &arg);
  if (result >= 0) maps.Add({place.ioas, arg.iova, place.length}, std::move(memory));
  return BigOr(result, arg.iova);
}

Answer MapFile(const Place& place, int fd, uint64_t offset) {
  uapi::IommuIoasMapFile arg = {};
  arg.size = sizeof(arg);
  arg.flags = place.flags;
  arg.ioas_id = place.ioas;
  arg.fd = fd;
  arg.start = offset;
  arg.length = place.length;
  arg.iova = place.iova;
  const int result = Ioctl(place.iommufd.number(), uapi::kIommuIoasMapFile, &arg);
  return BigOr(result, arg.iova);
}

// ioasMap(iommufd, ioas, flags, address, length, iova) -> iova
Call IoasMap(const Napi::CallbackInfo& info) {
  const auto place = PlaceArguments(info, 4);
  const auto address = Uint64Argument(info, 3);
  if (!place || !address) return {};
  return [place = *place, address = *address] { return MapAt(place, address, nullptr); };
}

// The part of a memory that (…, memory, offset, length, iova) name; null where it has no such part.
std::shared_ptr<Memory> MemoryPart(const Napi::CallbackInfo& info, uint64_t* offset) {
  std::shared_ptr<Memory> memory = MemoryArgument(info, 3);
  const auto start = Uint64Argument(info, 4);
  const auto length = Uint64Argument(info, 5);
  if (!memory || !start || !length || !memory->Has(*start, *length)) return nullptr;
  *offset = *start;
  return memory;
}

// ioasMapMemory(iommufd, ioas, flags, memory, offset, length, iova) -> iova
Call IoasMapMemory(const Napi::CallbackInfo& info) {
  uint64_t offset = 0;
  std::shared_ptr<Memory> memory = MemoryPart(info, &offset);
  const auto place = PlaceArguments(info, 5);
  if (!memory || !place) return {};
  return [place = *place, memory = std::move(memory), offset] {
    return MapAt(place, AddressOf(memory->data() + offset), memory);
  };
}

// ioasMapMemoryFile(…): the same by the memory's file, where the kernel can (Linux 6.13)
Call IoasMapMemoryFile(const Napi::CallbackInfo& info) {
  uint64_t offset = 0;
  std::shared_ptr<Memory> memory = MemoryPart(info, &offset);
  const auto place = PlaceArguments(info, 5);
  if (!memory || !place) return {};
  return [place = *place, memory = std::move(memory), offset] {
    return MapFile(place, memory->fd(), offset);
  };
}

// ioasMapFile(iommufd, ioas, flags, descriptor's number, offset, length, iova) -> iova
Call IoasMapFile(const Napi::CallbackInfo& info) {
  const auto number = Uint32Argument(info, 3);
  const auto offset = Uint64Argument(info, 4);
  const auto place = PlaceArguments(info, 5);
  if (!number || !offset || !place) return {};
  // A copy, since its owner may close the number while the call is on its way.
  const int copy = Duplicate(static_cast<int>(*number));
  if (copy < 0) return [copy] { return copy; };
  return [place = *place, fd = std::make_shared<Fd>(copy), offset = *offset] {
    return MapFile(place, fd->number(), offset);
  };
}

// ioasUnmap(iommufd, ioas, iova, length) -> bytes that were mapped there
Call IoasUnmap(const Napi::CallbackInfo& info) {
  const auto iommufd = LeaseArgument(info, 0);
  const auto ioas = Uint32Argument(info, 1);
  const auto iova = Uint64Argument(info, 2);
  const auto length = Uint64Argument(info, 3);
  if (!iommufd || !ioas || !iova || !length) return {};
  const MapExtent range = {*ioas, *iova, *length};
  return [iommufd = *iommufd, range]() -> Answer {
    if (iommufd.number() < 0) return iommufd.number();
    KeptMaps& maps = iommufd.file()->maps;
    const auto within = maps.Within(range);
    uint64_t bytes = 0;
    const int result = UnmapIoas(iommufd.number(), range, &bytes);
    if (result >= 0) maps.Remove(within);
    // Where the range cuts another map, those behind it may still be there: not one that fills it.
    if (result == -ENOENT) maps.Remove(Exactly(range, within));
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
  const auto place = PlaceArguments(info, 5);
  const auto source = Uint32Argument(info, 3);
  const auto source_iova = Uint64Argument(info, 4);
  if (!place || !source || !source_iova) return {};
  return [place = *place, source = *source, source_iova = *source_iova]() -> Answer {
    if (place.iommufd.number() < 0) return place.iommufd.number();
    KeptMaps& maps = place.iommufd.file()->maps;
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
    const int result = Ioctl(place.iommufd.number(), uapi::kIommuIoasCopy, &arg);
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
  ExportSlowCall<IoasMapMemory>(env, exports, "ioasMapMemory");
  ExportSlowCall<IoasMapMemoryFile>(env, exports, "ioasMapMemoryFile");
  ExportSlowCall<IoasMapFile>(env, exports, "ioasMapFile");
  ExportSlowCall<IoasUnmap>(env, exports, "ioasUnmap");
  ExportSlowCall<IoasCopy>(env, exports, "ioasCopy");
  ExportSlowCall<IoasChangeProcess>(env, exports, "ioasChangeProcess");
  ExportShortCall<IoasIovaRanges>(env, exports, "ioasIovaRanges");
  ExportShortCall<IoasAllowIovas>(env, exports, "ioasAllowIovas");
  ExportShortCall<IoasPhysicalAddress>(env, exports, "ioasPhysicalAddress");
  ExportShortCall<IommuOption>(env, exports, "iommuOption");
  ExportShortCall<IommufdProbe>(env, exports, "iommufdProbe");
}
