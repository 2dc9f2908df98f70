#pragma once

#include <napi.h>
#include <uv.h>

#include <cstdint>
#include <memory>
#include <unordered_map>

#include "fd.h"

// The eventfds, and other descriptors, that one environment's own loop polls, by the handles of its
// FdTable. Each is told to JavaScript by a callback of its own.
class EventfdPolls {
 public:
  // Frees itself when the environment ends. Null when the environment ends already.
  static EventfdPolls* Start(Napi::Env env);
  EventfdPolls(const EventfdPolls&) = delete;
  EventfdPolls& operator=(const EventfdPolls&) = delete;

  // 0 or -errno. The callback gets what a read of the eventfd answered: the count, or -errno, after
  // which the eventfd is polled no more. Other descriptors are not read: the callback gets 0 for as
  // long as there is something to read.
  enum class What { kEventfd, kOther };
  int Add(uint32_t handle, std::shared_ptr<Fd> fd, Napi::Function callback, What what);
  // False where the eventfd is not polled. When it returns, the descriptor may be closed.
  bool Remove(uint32_t handle);
  // Whether polling it keeps the loop alive.
  bool SetRef(uint32_t handle, bool ref);

 private:
  struct Poll {
    EventfdPolls* owner;
    uint32_t handle;
    std::shared_ptr<Fd> fd;
    Napi::FunctionReference callback;
    What what;
    uv_poll_t uv = {};
  };

  explicit EventfdPolls(Napi::Env env);
  ~EventfdPolls() = default;
  void Ready(Poll* poll, int status);
  void CallBack(Poll* poll, double answer);
  void Close(Poll* poll);
  void Closed(Poll* poll);
  void Stop();
  void End();

  Napi::Env env_;
  Napi::AsyncContext context_;
  napi_async_cleanup_hook_handle cleanup_ = nullptr;
  std::unordered_map<uint32_t, Poll*> polls_;
  // libuv has a handle until it calls back about its closing.
  size_t uv_handles_ = 0;
  bool stopping_ = false;
};

void ExportEventfd(Napi::Env env, Napi::Object exports);
