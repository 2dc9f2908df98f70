#include "memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <limits>

#include "addon.h"
#include "arguments.h"
#include "external_buffer.h"
#include "slow_call.h"
#include "system_call.h"

// Linux 5.14; older libraries lack the name.
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

Memory::~Memory() {
  if (retires_addresses_) {
    // Takes the place of what is there. Where it fails, the pages stay, which is as safe.
    mmap(data_, size_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  } else {
    munmap(data_, size_);
  }
  close(fd_);
}

uint32_t MemoryTable::Add(std::shared_ptr<Memory> memory) {
  do last_++;
  while (last_ == 0 || memories_.contains(last_));
  memories_.emplace(last_, std::move(memory));
  return last_;
}

std::shared_ptr<Memory> MemoryTable::Find(uint32_t handle) const {
  const auto found = memories_.find(handle);
  return found == memories_.end() ? nullptr : found->second;
}

std::shared_ptr<Memory> MemoryArgument(const Napi::CallbackInfo& info, size_t index) {
  const auto handle = Uint32Argument(info, index);
  return handle ? info.Env().GetInstanceData<Addon>()->memories.Find(*handle) : nullptr;
}

namespace {

// Several system calls make a memory, and which of them failed is told with its errno: those of the
// kernel are below 4096.
enum Step : int { kMemfdCreate, kFtruncate, kFcntl, kMmap, kMadvise };

// -errno, of the step.
int Failed(Step step, int error) { return -(error + 4096 * step); }

// Maps what `fd` holds from `offset` on, and owns both from then on: 0, or -errno; the descriptor
// is closed then.
int MapFile(int fd, uint64_t offset, size_t size, std::shared_ptr<Memory>* memory) {
  void* data =
      mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, static_cast<off_t>(offset));
  if (data == MAP_FAILED) {
    const int error = errno;
    close(fd);
    return -error;
  }
  *memory = std::make_shared<Memory>(fd, data, size);
  return 0;
}

// Of a size that nobody can change, so that no access faults that once worked.
int SealedMemfd(size_t size, uint32_t flags) {
  const int fd = memfd_create("vfio-dma", flags | MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return Failed(kMemfdCreate, errno);
  const int seals = F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;
  int result = 0;
  if (ftruncate(fd, static_cast<off_t>(size)) < 0) {
    result = Failed(kFtruncate, errno);
  } else if (fcntl(fd, F_ADD_SEALS, seals) < 0) {
    result = Failed(kFcntl, errno);
  }
  if (result == 0) return fd;
  close(fd);
  return result;
}

// 0, or what failed.
int Allocate(size_t size, uint32_t flags, bool populate, std::shared_ptr<Memory>* memory) {
  const int fd = SealedMemfd(size, flags);
  if (fd < 0) return fd;
  const int mapped = MapFile(fd, 0, size, memory);
  if (mapped < 0) return Failed(kMmap, -mapped);
  if (!populate) return 0;
  // MAP_POPULATE would not say that it failed.
  void* data = (*memory)->data();
  const int result = RetryOnSignal([&] { return madvise(data, size, MADV_POPULATE_WRITE); });
  return result == 0 ? 0 : Failed(kMadvise, -result);
}

std::optional<size_t> SizeArgument(const Napi::CallbackInfo& info, size_t index) {
  const auto size = Uint64Argument(info, index);
  if (!size || *size == 0 || *size > std::numeric_limits<ptrdiff_t>::max()) return std::nullopt;
  return static_cast<size_t>(*size);
}

Napi::Value Added(Napi::Env env, std::shared_ptr<Memory> memory) {
  return Napi::Number::New(env, env.GetInstanceData<Addon>()->memories.Add(std::move(memory)));
}

// memoryAllocate(size, flags of memfd_create, populate) -> handle, or the step that failed
Call MemoryAllocate(const Napi::CallbackInfo& info) {
  const auto size = SizeArgument(info, 0);
  const auto flags = Uint32Argument(info, 1);
  const auto populate = Uint32Argument(info, 2);
  if (!size || !flags || !populate) return {};
  return [size = *size, flags = *flags, populate = *populate != 0]() -> Answer {
    std::shared_ptr<Memory> memory;
    const int result = Allocate(size, flags, populate, &memory);
    if (result < 0) return result;
    return Answer([memory = std::move(memory)](Napi::Env env) { return Added(env, memory); });
  };
}

// memoryFromFile(descriptor's number, offset, size) -> handle; the descriptor stays the caller's
Napi::Value MemoryFromFile(const Napi::CallbackInfo& info) {
  const auto number = Uint32Argument(info, 0);
  const auto offset = Uint64Argument(info, 1);
  const auto size = SizeArgument(info, 2);
  if (!number || !offset || !size) return info.Env().Undefined();
  const int fd = fcntl(static_cast<int>(*number), F_DUPFD_CLOEXEC, 0);
  if (fd < 0) return Napi::Number::New(info.Env(), -errno);
  std::shared_ptr<Memory> memory;
  const int result = MapFile(fd, *offset, *size, &memory);
  if (result < 0) return Napi::Number::New(info.Env(), result);
  return Added(info.Env(), std::move(memory));
}

// memoryBuffer(memory, offset, length) -> an ArrayBuffer over the pages themselves
Napi::Value MemoryBuffer(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  std::shared_ptr<Memory> memory = MemoryArgument(info, 0);
  const auto offset = Uint64Argument(info, 1);
  const auto length = Uint64Argument(info, 2);
  if (!memory || !offset || !length || !memory->Has(*offset, *length)) return env.Undefined();
  char* data = memory->data() + *offset;
  return ExternalBuffer(env, data, *length, std::move(memory));
}

// detachBuffer(ArrayBuffer): 0, also where it is detached already
Napi::Value DetachBuffer(const Napi::CallbackInfo& info) {
  if (!info[0].IsArrayBuffer()) return info.Env().Undefined();
  const napi_status status = napi_detach_arraybuffer(info.Env(), info[0]);
  return Napi::Number::New(info.Env(), status == napi_ok ? 0 : -EINVAL);
}

// memoryFile(memory) -> the number of its file's descriptor
Napi::Value MemoryFile(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Memory> memory = MemoryArgument(info, 0);
  if (!memory) return info.Env().Undefined();
  return Napi::Number::New(info.Env(), memory->fd());
}

// pageSize() -> bytes
Napi::Value PageSize(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(sysconf(_SC_PAGESIZE)));
}

// memoryRelease(memory): forgets the handle
Napi::Value MemoryRelease(const Napi::CallbackInfo& info) {
  const auto handle = Uint32Argument(info, 0);
  Addon* addon = info.Env().GetInstanceData<Addon>();
  if (!handle || !addon->memories.Remove(*handle)) return info.Env().Undefined();
  return Napi::Number::New(info.Env(), 0);
}

}  // namespace

void ExportMemory(Napi::Env env, Napi::Object exports) {
  ExportSlowCall<MemoryAllocate>(env, exports, "memoryAllocate");
  exports["memoryFromFile"] = Napi::Function::New(env, MemoryFromFile, "memoryFromFile");
  exports["memoryBuffer"] = Napi::Function::New(env, MemoryBuffer, "memoryBuffer");
  exports["detachBuffer"] = Napi::Function::New(env, DetachBuffer, "detachBuffer");
  exports["memoryFile"] = Napi::Function::New(env, MemoryFile, "memoryFile");
  exports["pageSize"] = Napi::Function::New(env, PageSize, "pageSize");
  exports["memoryRelease"] = Napi::Function::New(env, MemoryRelease, "memoryRelease");
}
