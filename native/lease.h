#pragma once

#include <uv.h>

#include <atomic>
#include <memory>
#include <utility>

// What calls on other threads borrow through leases, so that it never ends while one of them still
// works with it.
class Leased {
 public:
  Leased() {
    uv_mutex_init(&mutex_);
    uv_cond_init(&idle_);
  }
  ~Leased() {
    uv_cond_destroy(&idle_);
    uv_mutex_destroy(&mutex_);
  }
  Leased(const Leased&) = delete;
  Leased& operator=(const Leased&) = delete;

  // For who holds a lease: to be given back at once.
  bool is_closing() const { return closing_.load(std::memory_order_relaxed); }

 protected:
  // Gives no lease from now on, and waits until every one is given back.
  void AwaitLeases() {
    uv_mutex_lock(&mutex_);
    closing_ = true;
    while (leases_ > 0) uv_cond_wait(&idle_, &mutex_);
    uv_mutex_unlock(&mutex_);
  }

 private:
  template <typename T>
  friend class Lease;

  // Whether there is one more lease.
  bool Acquire() {
    uv_mutex_lock(&mutex_);
    const bool open = !closing_;
    if (open) leases_++;
    uv_mutex_unlock(&mutex_);
    return open;
  }

  void Release() {
    uv_mutex_lock(&mutex_);
    leases_--;
    if (leases_ == 0) uv_cond_broadcast(&idle_);
    uv_mutex_unlock(&mutex_);
  }

  uv_mutex_t mutex_;
  uv_cond_t idle_;
  int leases_ = 0;
  std::atomic<bool> closing_ = false;
};

// Keeps it open for as long as the lease, or a copy of it, lives.
template <typename T>
class Lease {
 public:
  explicit Lease(std::shared_ptr<T> leased) {
    if (leased && leased->Acquire()) leased_ = std::move(leased);
  }
  Lease(const Lease& other) : Lease(other.leased_) {}
  Lease(Lease&& other) noexcept = default;
  Lease& operator=(const Lease&) = delete;
  Lease& operator=(Lease&&) = delete;
  ~Lease() {
    if (leased_) leased_->Release();
  }

  // Null where it was closing already.
  T* get() const { return leased_.get(); }

 private:
  std::shared_ptr<T> leased_;
};
