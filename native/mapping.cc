#include "mapping.h"

#include <sys/mman.h>
#include <unistd.h>

#include <utility>

#include "addon.h"
#include "arguments.h"
#include "export.h"
#include "external_buffer.h"
#include "fault_guard.h"
#include "irq_owners.h"
#include "region.h"

Mapping::Mapping(void* pages, size_t total, size_t skip, Range read_only)
    : start_(static_cast<std::byte*>(pages) + skip),
      size_(total - skip),
      read_only_(read_only),
      pages_(pages),
      total_(total) {}

Mapping::~Mapping() {
  exposed_ = false;
  Unmap();
}

int Mapping::Unmap() {
  AwaitLeases();
  if (pages_ == nullptr || exposed_) return 0;
  if (munmap(pages_, total_) < 0) return -errno;
  pages_ = nullptr;
  return 0;
}

namespace {

size_t PageSize() { return static_cast<size_t>(sysconf(_SC_PAGESIZE)); }

// map(device, start high, start low, offset, size, read-only start, read-only end) -> handle. The
// pages that hold `size` bytes from `offset` on; writes between the last two, which count from
// `offset`, are refused.
std::optional<Answer> Map(const Napi::CallbackInfo& info) {
  const auto device = FdArgument(info, 0);
  const auto position = PositionArgument(info, 1);
  const auto size = SafeIntegerArgument(info, 4);
  const auto start = SafeIntegerArgument(info, 5);
  const auto end = SafeIntegerArgument(info, 6);
  if (!device || !position || !size || *size == 0 || !start || !end) return {};
  const int error = InstallFaultHandler();
  if (error < 0) return error;
  const size_t skip = static_cast<size_t>(*position) % PageSize();
  const size_t total = *size + skip;
  const bool writable = *start > 0 || *end < *size;
  void* pages = mmap(nullptr, total, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED,
                     *device, *position - static_cast<int64_t>(skip));
  if (pages == MAP_FAILED) return -errno;
  auto mapping = std::make_shared<Mapping>(pages, total, skip, Mapping::Range{*start, *end});
  Addon& addon = AddonOf(info.Env());
  const std::shared_ptr<Fd> fd = NamedArgument(info, 0, addon.fds);
  if (fd && fd->irq_owners()) mapping->SetNotices(fd->irq_owners()->notices());
  return addon.mappings.Add(std::move(mapping));
}

// Takes the mapping from a handle that is forgotten then; null where it names none.
std::shared_ptr<Mapping> TakeMapping(Addon& addon, uint32_t handle) {
  if (auto mapping = addon.mappings.Take(handle)) return mapping;
  const auto left = addon.not_unmapped.extract(handle);
  return left.empty() ? nullptr : left.mapped();
}

// unmap(mapping): forgets the handle at once, waits for who works with it. After -errno the handle
// is good for another try, and for nothing else.
Call Unmap(const Napi::CallbackInfo& info) {
  const auto handle = Uint32Argument(info, 0);
  if (!handle) return {};
  std::shared_ptr<Mapping> mapping = TakeMapping(AddonOf(info.Env()), *handle);
  if (!mapping) return {};
  return [mapping = std::move(mapping), handle = *handle]() -> Answer {
    const int result = mapping->Unmap();
    if (result == 0) return 0;
    return Answer([mapping, handle, result](Napi::Env env) -> Napi::Value {
      AddonOf(env).not_unmapped.emplace(handle, mapping);
      return Napi::Number::New(env, result);
    });
  };
}

// mappingAddress(mapping) -> where it is in this process
std::optional<Answer> MappingAddress(const Napi::CallbackInfo& info) {
  const auto mapping = NamedArgument(info, 0, AddonOf(info.Env()).mappings);
  if (!mapping) return {};
  return BigOr(0, reinterpret_cast<uintptr_t>(mapping->at(0)));
}

// exposeMapping(mapping) -> an ArrayBuffer of the memory, which then stays mapped until that is
// collected. Refused where a part must not be written.
std::optional<Answer> ExposeMapping(const Napi::CallbackInfo& info) {
  const auto mapping = NamedArgument(info, 0, AddonOf(info.Env()).mappings);
  if (!mapping || mapping->read_only().end > 0) return {};
  return Answer([mapping](Napi::Env env) {
    auto* data = const_cast<std::byte*>(mapping->at(0));
    const Napi::Value buffer = ExternalBuffer(env, data, mapping->size(), mapping);
    if (buffer.IsArrayBuffer()) mapping->Expose();
    return buffer;
  });
}

}  // namespace

void ExportMapping(Napi::Env env, Napi::Object exports) {
  ExportShortCall<Map>(env, exports, "map");
  ExportSlowCall<Unmap, WithoutThread::kBlock>(env, exports, "unmap");
  ExportShortCall<MappingAddress>(env, exports, "mappingAddress");
  ExportShortCall<ExposeMapping>(env, exports, "exposeMapping");
}
