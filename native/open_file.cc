#include "hot.h"

#include "open_file.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace {

using OpenFiles = std::vector<std::shared_ptr<OpenFile>>;

// All that numbers are compared with.
struct Known {
  std::mutex mutex;
  std::vector<std::weak_ptr<OpenFile>> files;
};

// Never destroyed: when the process ends, threads may still be at work.
Known& TheKnown() {
  static auto* known = new Known;
  return *known;
}

OpenFiles AllKnown() {
  OpenFiles files;
  const std::lock_guard lock(TheKnown().mutex);
  for (const auto& each : TheKnown().files) {
    if (auto file = each.lock()) files.push_back(std::move(file));
  }
  return files;
}

constexpr int kKcmpFile = 0;

}  // namespace

OpenFile::~OpenFile() {
  for (const auto& other : held_) other->maps.ForgetWhereEmptied();
}

std::shared_ptr<OpenFile> OpenFile::New() {
  auto file = std::make_shared<OpenFile>();
  Known& known = TheKnown();
  const std::lock_guard lock(known.mutex);
  std::erase_if(known.files, [](const auto& each) { return each.expired(); });
  known.files.push_back(file);
  return file;
}

std::shared_ptr<OpenFile> OpenFile::Of(int number) {
  auto file = Find(number);
  file->maps.Share();
  return file;
}

std::shared_ptr<OpenFile> OpenFile::Find(int number) {
  const OpenFiles all = AllKnown();
  for (const auto& each : all) {
    if (each->HasNumber(number)) return each;
  }
  OpenFiles uncertain;
  for (const auto& each : all) {
    const int result = each->Compare(number);
    if (result == 0) return each;
    if (result < 0 && !each->maps.empty()) uncertain.push_back(each);
  }
  auto file = New();
  file->held_ = std::move(uncertain);
  return file;
}

void OpenFile::Opened(int number) {
  const std::lock_guard lock(mutex_);
  numbers_.push_back(number);
}

void OpenFile::Closing(int number) {
  const std::lock_guard lock(mutex_);
  std::erase(numbers_, number);
}

void OpenFile::Hold(std::shared_ptr<OpenFile> other) {
  const std::lock_guard lock(mutex_);
  if (std::ranges::find(held_, other) == held_.end()) held_.push_back(std::move(other));
}

void OpenFile::LetGo(const std::shared_ptr<OpenFile>& other) {
  const std::lock_guard lock(mutex_);
  std::erase(held_, other);
}

bool OpenFile::Occupy(const void* by) {
  const void* nobody = nullptr;
  return occupied_by_.compare_exchange_strong(nobody, by);
}

void OpenFile::Vacate(const void* by) { occupied_by_.compare_exchange_strong(by, nullptr); }

bool OpenFile::HasNumber(int number) {
  const std::lock_guard lock(mutex_);
  return std::ranges::find(numbers_, number) != numbers_.end();
}

int OpenFile::Compare(int number) {
  const auto compare = [number](int own) {
    const pid_t self = getpid();
    const long result = syscall(SYS_kcmp, self, self, kKcmpFile, own, number);
    return result < 0 ? -errno : static_cast<int>(result);
  };
  {
    const std::lock_guard lock(mutex_);
    if (!numbers_.empty()) return compare(numbers_.front());
  }
  // Only what holds it is left: its maps have a descriptor where there ever were some.
  const int own = maps.number();
  return own < 0 ? 1 : compare(own);
}
