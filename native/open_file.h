#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "kept_maps.h"

// One of the kernel's open files: what several descriptors of this process may stand for, in any of
// its environments. It lives while one of them is open, or another open file that holds it in the
// kernel: a device that is bound to an iommufd, a group in a container. So the maps that were made
// in it stay exactly as long as anything in this process could still have a device reach them.
class OpenFile {
 public:
  OpenFile() = default;
  ~OpenFile();
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  // A new one, which later numbers are compared with. This is state of the whole process, and has
  // to be: two environments may have descriptors of the same file.
  static std::shared_ptr<OpenFile> New();
  // The one that a descriptor from elsewhere stands for: a known one, or a new one. Where the
  // kernel does not say which (kcmp is forbidden in many containers), a new one that holds all that
  // have maps: too long is safe. Other processes may have a descriptor of it, too.
  static std::shared_ptr<OpenFile> Of(int number);

  // A descriptor of it is open; is about to be closed.
  void Opened(int number);
  void Closing(int number);

  // Has `other` live as long as this, as the kernel does.
  void Hold(std::shared_ptr<OpenFile> other);
  // The kernel does so no more.
  void LetGo(const std::shared_ptr<OpenFile>& other);

  // Whether no other has it to itself, of those in the whole process that may not have it at the
  // same time; from then on this one has it.
  bool Occupy(const void* by);
  void Vacate(const void* by);

  KeptMaps maps;

 private:
  static std::shared_ptr<OpenFile> Find(int number);
  bool HasNumber(int number);
  // 0 where the descriptor is one of this file, above 0 where not, -errno where that is not known.
  int Compare(int number);

  std::atomic<const void*> occupied_by_ = nullptr;
  std::mutex mutex_;
  std::vector<int> numbers_;  // open as long as they are here
  std::vector<std::shared_ptr<OpenFile>> held_;
};
