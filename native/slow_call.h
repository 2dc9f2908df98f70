#pragma once

#include <napi.h>
#include <uv.h>

#include <deque>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "answers.h"

// A call that can block, its arguments already checked and copied or leased: touches no JavaScript.
// An empty one means that the arguments were refused.
using Call = std::function<Answer()>;

// What becomes of a call where no thread is to be had, and there is none yet: it answers kNoThread
// and the -errno of making one; or, where it must not be left undone, it is made here and now.
enum class WithoutThread { kRefuse, kBlock };

// Below every -errno, so that nobody takes it for one of the call's own.
inline constexpr int kNoThread = -65536;

// Threads on which one environment's slow calls run, kept until the environment ends. They are ours
// and not libuv's four, so that eight devices that reset for 100 ms each neither wait for one
// another nor delay the program's file system calls.
class SlowCalls {
 public:
  // Frees itself when the environment ends. Null when the loop takes no handle any more.
  static SlowCalls* Start(Napi::Env env);
  SlowCalls(const SlowCalls&) = delete;
  SlowCalls& operator=(const SlowCalls&) = delete;

  // Calls start in the order of Run. The promise resolves with what the call answered. Undefined in
  // a worker that is being terminated: the call is dropped.
  Napi::Value Run(Call call, WithoutThread without);

 private:
  struct Job {
    Job(Call c, napi_deferred d) : call(std::move(c)), deferred(d) {}
    Call call;
    Answer answer;
    napi_deferred deferred;
  };
  using Jobs = std::deque<std::unique_ptr<Job>>;

  explicit SlowCalls(Napi::Env env);
  ~SlowCalls();
  int ReadyThread();
  void Enqueue(std::unique_ptr<Job> job);
  int AddThread();
  void Work();
  std::unique_ptr<Job> NextJob();
  void Settle();
  void Settle(napi_deferred deferred, const Answer& answer);
  void Stop();
  void Close(uv_close_cb closed);

  // More calls than this at once wait for a thread.
  static constexpr size_t kMaxThreads = 64;

  Napi::Env env_;
  Napi::AsyncContext context_;
  napi_async_cleanup_hook_handle cleanup_ = nullptr;
  uv_async_t settled_ = {};
  size_t unsettled_ = 0;
  std::vector<uv_thread_t> threads_;

  uv_mutex_t mutex_;
  uv_sem_t wake_;  // posted for every job that waits, and for every thread that is to end
  // Under mutex_:
  Jobs waiting_;
  Jobs done_;
  size_t idle_ = 0;  // threads without a job
  bool stopping_ = false;
};

// Starts `call` on a thread of the environment's own and returns its promise.
Napi::Value RunSlowly(Napi::Env env, Call call, WithoutThread without = WithoutThread::kRefuse);
