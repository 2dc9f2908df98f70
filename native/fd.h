#pragma once

#include <napi.h>

#include <cerrno>
#include <memory>
#include <utility>

#include "lease.h"
#include "open_file.h"

class IrqOwners;

// A file descriptor with one owner. Its number is never reused by the kernel while a call on
// another thread, which has a lease, still works with it.
class Fd : public Leased {
 public:
  // For a file that no other descriptor of this process is known to stand for.
  explicit Fd(int fd);
  Fd(int fd, std::shared_ptr<OpenFile> file);
  ~Fd() { Close(); }

  // Waits until every lease is given back, then closes. Closing again returns 0.
  int Close();

  // For who holds a lease, or ends before the JavaScript thread can close: who finds an Fd in the
  // table knows that nobody closes it.
  int number() const { return fd_; }
  // What it is a descriptor of.
  const std::shared_ptr<OpenFile>& file() const { return file_; }

  // Who has the interrupts, where it is a device's descriptor. Null until it is told; used on the
  // JavaScript thread.
  const std::shared_ptr<IrqOwners>& irq_owners() const { return irq_owners_; }
  void SetIrqOwners(std::shared_ptr<IrqOwners> owners) { irq_owners_ = std::move(owners); }

 private:
  int fd_;  // -1 when closed
  std::shared_ptr<IrqOwners> irq_owners_;
  std::shared_ptr<OpenFile> file_;  // null when closed
};

class FdLease : public Lease<Fd> {
 public:
  using Lease::Lease;

  // The number to give to a system call; -EBADF when the Fd was closed, which the system call then
  // answers by itself.
  int number() const { return get() == nullptr ? -EBADF : get()->number(); }

  // Where the number is not -EBADF.
  const std::shared_ptr<OpenFile>& file() const { return get()->file(); }
};

void ExportFd(Napi::Env env, Napi::Object exports);
