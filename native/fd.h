#pragma once

#include <napi.h>
#include <uv.h>

#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>

class IrqOwners;

#include "open_file.h"

// A file descriptor with one owner. Calls borrow it through leases, so that it can never be closed,
// and its number never reused by the kernel, while a call on another thread still works with it.
class Fd {
 public:
  // Of a file that no other descriptor of this process is known to stand for.
  explicit Fd(int fd);
  Fd(int fd, std::shared_ptr<OpenFile> file);
  ~Fd();
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;

  // Waits until every lease is given back, then closes. Closing again returns 0.
  int Close();

  // For a call that ends before the JavaScript thread can close: who finds an Fd in the table knows
  // that nobody closes it.
  int number() const { return fd_; }

  // Of a device: who has its interrupts. Null until it is told; on the JavaScript thread.
  const std::shared_ptr<IrqOwners>& irq_owners() const { return irq_owners_; }
  void SetIrqOwners(std::shared_ptr<IrqOwners> owners) { irq_owners_ = std::move(owners); }

 private:
  friend class FdLease;
  // The number, or -EBADF when closed; the file where it is open.
  int Acquire(std::shared_ptr<OpenFile>* file);
  void Release();

  uv_mutex_t mutex_;
  uv_cond_t idle_;
  int fd_;
  int leases_ = 0;
  std::shared_ptr<IrqOwners> irq_owners_;
  std::shared_ptr<OpenFile> file_;  // null when closed
};

// Keeps an Fd open for as long as it, or a copy of it, lives.
class FdLease {
 public:
  explicit FdLease(std::shared_ptr<Fd> fd);
  FdLease(const FdLease& other);
  FdLease(FdLease&& other) noexcept;
  FdLease& operator=(const FdLease&) = delete;
  FdLease& operator=(FdLease&&) = delete;
  ~FdLease();

  // The number to give to a system call; -EBADF when the Fd was closed, which the system call then
  // answers by itself.
  int number() const { return number_; }

  // What it is a descriptor of; null where the number is -EBADF.
  const std::shared_ptr<OpenFile>& file() const { return file_; }

 private:
  std::shared_ptr<Fd> fd_;
  std::shared_ptr<OpenFile> file_;
  int number_;
};

// The descriptors of one environment. JavaScript holds handles, numbers that are never used again,
// so that a handle that is stale or made up names nothing. Those still open when the environment
// ends are closed with it.
class FdTable {
 public:
  uint32_t Add(int fd);
  uint32_t Add(int fd, std::shared_ptr<OpenFile> file);
  uint32_t Add(std::shared_ptr<Fd> fd);
  std::shared_ptr<Fd> Find(uint32_t handle) const;
  // Forgets the handle; the descriptor closes when nobody has it any more.
  std::shared_ptr<Fd> Take(uint32_t handle);

 private:
  std::unordered_map<uint32_t, std::shared_ptr<Fd>> fds_;
  uint32_t last_ = 0;
};

void ExportFd(Napi::Env env, Napi::Object exports);
