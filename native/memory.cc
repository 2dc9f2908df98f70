#include "memory.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <limits>

#include "addon.h"
#include "arguments.h"
#include "export.h"
#include "external_buffer.h"
#include "system_call.h"

// Linux 5.14; older libraries lack the name.
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

Memory::~Memory() {
  if (retires_addresses_) {
    // Takes the place of what is there. Where it fails, the pages stay, which is as safe.
    constexpr int kNothing = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
    static_cast<void>(mmap(data_, size_, PROT_NONE, kNothing, -1, 0));
  } else {
    // It can fail where the kernel joined these pages with others of the same file, and the process
    // has no mapping left to take them apart by. They stay then, which is as safe, until the
    // process ends: whoever let go of them last waits for no answer, and no other call would
    // succeed.
    munmap(data_, size_);
  }
  close(fd_);
}

std::shared_ptr<Memory> MemoryArgument(const Napi::CallbackInfo& info, size_t index) {
  return NamedArgument(info, index, AddonOf(info.Env()).memories);
}

namespace {

// Several system calls make a memory, and which of them failed is told with its errno.
enum Step : int { kMemfdCreate, kFtruncate, kFcntl, kMmap, kMadvise };

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

// The bytes that mmap maps where `size` are asked for: of hugetlbfs whole pages, and munmap takes
// no less. 0 or -errno.
int RoundToPages(int fd, size_t* size) {
  struct statfs filesystem = {};
  if (const int result = RetryOnSignal([&] { return fstatfs(fd, &filesystem); }); result < 0) {
    return result;
  }
  if (filesystem.f_type != HUGETLBFS_MAGIC) return 0;
  const auto page = static_cast<size_t>(filesystem.f_bsize);
  *size = (*size + page - 1) / page * page;
  return 0;
}

// Makes a file of a size that nobody can change, so that no access faults that once worked.
int SealedMemfd(size_t size, uint32_t flags) {
  const int fd = memfd_create("vfio-dma", flags | MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return FailedStep(kMemfdCreate, errno);
  const int seals = F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;
  int result = 0;
  if (const int truncated = RetryOnSignal([&] { return ftruncate(fd, static_cast<off_t>(size)); });
      truncated < 0) {
    result = FailedStep(kFtruncate, -truncated);
  } else if (fcntl(fd, F_ADD_SEALS, seals) < 0) {
    result = FailedStep(kFcntl, errno);
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
  if (mapped < 0) return FailedStep(kMmap, -mapped);
  if (!populate) return 0;
  // MAP_POPULATE would not say that it failed.
  void* data = (*memory)->data();
  const int result = RetryOnSignal([&] { return madvise(data, size, MADV_POPULATE_WRITE); });
  return result == 0 ? 0 : FailedStep(kMadvise, -result);
}

std::optional<size_t> SizeArgument(const Napi::CallbackInfo& info, size_t index) {
  const auto size = Uint64Argument(info, index);
  if (!size || *size == 0 || *size > std::numeric_limits<ptrdiff_t>::max()) return std::nullopt;
  return static_cast<size_t>(*size);
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
    return Answer([memory = std::move(memory)](Napi::Env env) -> Napi::Value {
      return Napi::Number::New(env, AddonOf(env).memories.Add(memory));
    });
  };
}

enum FileStep : int { kDuplicate, kFstatfs, kFileMmap };

// memoryFromFile(descriptor's number, offset, size) -> handle, or the step that failed; the
// descriptor stays the caller's
std::optional<Answer> MemoryFromFile(const Napi::CallbackInfo& info) {
  const auto number = Uint32Argument(info, 0);
  const auto offset = Uint64Argument(info, 1);
  auto size = SizeArgument(info, 2);
  if (!number || !offset || !size) return {};
  const int fd = Duplicate(static_cast<int>(*number));
  if (fd < 0) return fd;
  if (const int result = RoundToPages(fd, &*size); result < 0) {
    close(fd);
    return FailedStep(kFstatfs, -result);
  }
  std::shared_ptr<Memory> memory;
  const int result = MapFile(fd, *offset, *size, &memory);
  if (result < 0) return FailedStep(kFileMmap, -result);
  return AddonOf(info.Env()).memories.Add(std::move(memory));
}

// memoryBuffer(memory, offset, length) -> an ArrayBuffer over the pages themselves
std::optional<Answer> MemoryBuffer(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Memory> memory = MemoryArgument(info, 0);
  const auto offset = Uint64Argument(info, 1);
  const auto length = Uint64Argument(info, 2);
  if (!memory || !offset || !length || !memory->Has(*offset, *length)) return {};
  return Answer([memory, offset = *offset, length = *length](Napi::Env env) {
    return ExternalBuffer(env, memory->data() + offset, length, memory);
  });
}

// memoryAddress(memory) -> where the pages are in this process
std::optional<Answer> MemoryAddress(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Memory> memory = MemoryArgument(info, 0);
  if (!memory) return {};
  return BigOr(0, reinterpret_cast<uintptr_t>(memory->data()));
}

// detachBuffer(ArrayBuffer): 0, also where it is detached already
std::optional<Answer> DetachBuffer(const Napi::CallbackInfo& info) {
  if (!info[0].IsArrayBuffer()) return {};
  const napi_status status = napi_detach_arraybuffer(info.Env(), info[0]);
  return status == napi_ok ? 0 : -EINVAL;
}

// memoryFile(memory) -> the number of its file's descriptor
std::optional<Answer> MemoryFile(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Memory> memory = MemoryArgument(info, 0);
  if (!memory) return {};
  return memory->fd();
}

// pageSize() -> bytes
std::optional<Answer> PageSize(const Napi::CallbackInfo&) {
  return static_cast<int>(sysconf(_SC_PAGESIZE));
}

// memoryRelease(memory): forgets the handle
std::optional<Answer> MemoryRelease(const Napi::CallbackInfo& info) {
  const auto handle = Uint32Argument(info, 0);
  if (!handle || !AddonOf(info.Env()).memories.Take(*handle)) return {};
  return 0;
}

}  // namespace

void ExportMemory(Napi::Env env, Napi::Object exports) {
  ExportSlowCall<MemoryAllocate>(env, exports, "memoryAllocate");
  ExportShortCall<MemoryFromFile>(env, exports, "memoryFromFile");
  ExportShortCall<MemoryBuffer>(env, exports, "memoryBuffer");
  ExportShortCall<MemoryAddress>(env, exports, "memoryAddress");
  ExportShortCall<DetachBuffer>(env, exports, "detachBuffer");
  ExportShortCall<MemoryFile>(env, exports, "memoryFile");
  ExportShortCall<PageSize>(env, exports, "pageSize");
  ExportShortCall<MemoryRelease>(env, exports, "memoryRelease");
}
