#include "mapping.h"

#include <sys/mman.h>
#include <unistd.h>

#include <utility>

#include "addon.h"
#include "arguments.h"
#include "external_buffer.h"
#include "fault_guard.h"
#include "region.h"
#include "slow_call.h"

Mapping::Mapping(void* pages, size_t total, size_t skip, Range read_only)
    : start_(static_cast<std::byte*>(pages) + skip),
      size_(total - skip),
      read_only_(read_only),
      pages_(pages),
      total_(total) {
  uv_mutex_init(&mutex_);
  uv_cond_init(&idle_);
}

Mapping::~Mapping() {
  exposed_ = false;
  Unmap();
  uv_cond_destroy(&idle_);
  uv_mutex_destroy(&mutex_);
}

int Mapping::Unmap() {
  closing_ = true;
  uv_mutex_lock(&mutex_);
  while (leases_ > 0) uv_cond_wait(&idle_, &mutex_);
  int result = 0;
  if (pages_ != nullptr && !exposed_) {
    result = munmap(pages_, total_) == 0 ? 0 : -errno;
    if (result == 0) pages_ = nullptr;
  }
  uv_mutex_unlock(&mutex_);
  return result;
}

bool Mapping::Acquire() {
  uv_mutex_lock(&mutex_);
  const bool open = !closing_;
  if (open) leases_++;
  uv_mutex_unlock(&mutex_);
  return open;
}

void Mapping::Release() {
  uv_mutex_lock(&mutex_);
  leases_--;
  if (leases_ == 0) uv_cond_broadcast(&idle_);
  uv_mutex_unlock(&mutex_);
}

MappingLease::MappingLease(std::shared_ptr<Mapping> mapping) {
  if (mapping->Acquire()) mapping_ = std::move(mapping);
}

MappingLease::MappingLease(const MappingLease& other) {
  if (other.mapping_ && other.mapping_->Acquire()) mapping_ = other.mapping_;
}

MappingLease::~MappingLease() {
  if (mapping_) mapping_->Release();
}

uint32_t MappingTable::Add(std::shared_ptr<Mapping> mapping) {
  do last_++;
  while (last_ == 0 || mappings_.contains(last_) || not_unmapped_.contains(last_));
  mappings_.emplace(last_, std::move(mapping));
  return last_;
}

const Mapping* MappingTable::Find(uint64_t handle) {
  if (handle == recent_handle_) return recent_;
  const auto found = mappings_.find(static_cast<uint32_t>(handle));
  if (found == mappings_.end()) return nullptr;
  recent_handle_ = handle;
  recent_ = found->second.get();
  return recent_;
}

std::shared_ptr<Mapping> MappingTable::Share(uint32_t handle) const {
  const auto found = mappings_.find(handle);
  return found == mappings_.end() ? nullptr : found->second;
}

std::shared_ptr<Mapping> MappingTable::Take(uint32_t handle) {
  std::shared_ptr<Mapping> mapping = Share(handle);
  mappings_.erase(handle);
  recent_handle_ = 0;
  recent_ = nullptr;
  const auto left = not_unmapped_.find(handle);
  if (left == not_unmapped_.end()) return mapping;
  mapping = std::move(left->second);
  not_unmapped_.erase(left);
  return mapping;
}

void MappingTable::KeepForTake(uint32_t handle, std::shared_ptr<Mapping> mapping) {
  not_unmapped_.emplace(handle, std::move(mapping));
}

namespace {

MappingTable& Mappings(Napi::Env env) { return env.GetInstanceData<Addon>()->mappings; }

size_t PageSize() { return static_cast<size_t>(sysconf(_SC_PAGESIZE)); }

// map(device, start high, start low, offset, size, read-only start, read-only end) -> handle. The
// pages that hold `size` bytes from `offset` on; writes between the last two, which count from
// `offset`, are refused.
Napi::Value Map(const Napi::CallbackInfo& info) {
  const auto device = FdArgument(info, 0);
  const auto position = PositionArgument(info, 1);
  const auto size = SafeIntegerArgument(info, 4);
  const auto start = SafeIntegerArgument(info, 5);
  const auto end = SafeIntegerArgument(info, 6);
  if (!device || !position || !size || *size == 0 || !start || !end) return info.Env().Undefined();
  const int error = InstallFaultHandler();
  if (error < 0) return Napi::Number::New(info.Env(), error);
  const size_t skip = static_cast<size_t>(*position) % PageSize();
  const size_t total = *size + skip;
  const bool writable = *start > 0 || *end < *size;
  void* pages = mmap(nullptr, total, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED,
                     *device, *position - static_cast<int64_t>(skip));
  if (pages == MAP_FAILED) return Napi::Number::New(info.Env(), -errno);
  auto mapping = std::make_shared<Mapping>(pages, total, skip, Mapping::Range{*start, *end});
  return Napi::Number::New(info.Env(), Mappings(info.Env()).Add(std::move(mapping)));
}

// unmap(mapping): forgets the handle at once, waits for who works with it. After -errno the handle
// is good for another try, and for nothing else.
Call Unmap(const Napi::CallbackInfo& info) {
  const auto handle = Uint32Argument(info, 0);
  if (!handle) return {};
  std::shared_ptr<Mapping> mapping = Mappings(info.Env()).Take(*handle);
  if (!mapping) return {};
  return [mapping = std::move(mapping), handle = *handle]() -> Answer {
    const int result = mapping->Unmap();
    if (result == 0) return 0;
    return Answer([mapping, handle, result](Napi::Env env) -> Napi::Value {
      Mappings(env).KeepForTake(handle, mapping);
      return Napi::Number::New(env, result);
    });
  };
}

// exposeMapping(mapping) -> an ArrayBuffer of the memory, which then stays mapped until that is
// collected. Refused where a part must not be written.
Napi::Value ExposeMapping(const Napi::CallbackInfo& info) {
  const auto handle = Uint32Argument(info, 0);
  if (!handle) return info.Env().Undefined();
  std::shared_ptr<Mapping> mapping = Mappings(info.Env()).Share(*handle);
  if (!mapping || mapping->read_only().end > 0) return info.Env().Undefined();
  auto* data = const_cast<std::byte*>(mapping->at(0));
  Napi::Value buffer = ExternalBuffer(info.Env(), data, mapping->size(), mapping);
  if (buffer.IsArrayBuffer()) mapping->Expose();
  return buffer;
}

}  // namespace

void ExportMapping(Napi::Env env, Napi::Object exports) {
  exports["map"] = Napi::Function::New(env, Map, "map");
  ExportSlowCall<Unmap, WithoutThread::kBlock>(env, exports, "unmap");
  exports["exposeMapping"] = Napi::Function::New(env, ExposeMapping, "exposeMapping");
}
