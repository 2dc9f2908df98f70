#pragma once

#include <napi.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>

#include "fd.h"

// What a device told of itself, for whoever looks without the loop that hears of it: in whichever
// thread, and also while the thread that would hear never comes to its loop. One for each device,
// for all who have it in this process.
class Notices {
 public:
  // That it is wanted back; that it failed.
  enum Kind : uint32_t { kRequest = 0, kError = 1 };
  static constexpr uint32_t kKinds = 2;

  // Whether it told, by kind; then, in the bits above, whether that would be heard of: its eventfd
  // is open, or the device never tells of this kind. Above these, why not any more: who had it
  // heard of has closed the device, or has it and gave the eventfd up.
  static constexpr uint32_t Told(uint32_t kind) { return 1U << kind; }
  static constexpr uint32_t Heard(uint32_t kind) { return 1U << (kKinds + kind); }
  static constexpr uint32_t Left(uint32_t kind) { return 1U << (2 * kKinds + kind); }
  static constexpr uint32_t GivenUp(uint32_t kind) { return 1U << (3 * kKinds + kind); }

  // From now on the kernel signals this eventfd, as `device` has it; null: there is no such
  // interrupt.
  void Watch(uint32_t kind, const Fd* device, std::shared_ptr<Fd> eventfd);
  // This descriptor of the device is being closed.
  void Leave(const Fd* device);
  // The loop heard of it, and the eventfd may say so no more.
  void Tell(uint32_t kind);
  // Asks the eventfds once in a tick of the kernel's clock, which is 1 to 10 ms: in between it
  // costs no system call.
  uint32_t Look();

 private:
  void Ask();

  std::atomic<uint32_t> state_ = 0;
  std::atomic<int64_t> asked_at_ = -1;
  std::mutex mutex_;
  // Under mutex_:
  std::array<std::shared_ptr<Fd>, kKinds> eventfds_;
  std::array<const Fd*, kKinds> watchers_ = {};
};

void ExportNotices(Napi::Env env, Napi::Object exports);
