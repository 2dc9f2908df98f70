#pragma once

#include <napi.h>
#include <uv.h>

#include <cstdint>
#include <memory>
#include <unordered_map>

#include "fd.h"

// The descriptors that one environment's own loop polls, by their handles. Each is
// told to JavaScript by a callback of its own.
class Polls {
 public:
  // Those of the environment, made by who asks first; they free themselves when it ends. Null when
  // it ends already.
  static Polls* Of(Napi::Env env);
  Polls(const Polls&) = delete;
  Polls& operator=(const Polls&) = delete;

  // What to tell of a descriptor that became ready: `events` are libuv's. -EAGAIN tells nothing;
  // any other -errno is told, and the descriptor polled no more.
  using Tell = double (*)(int fd, int events);

  // Whether the file may be polled by another loop of the process at the same time.
  enum class Loops { kMany, kOne };

  // Polls the descriptor that the handle names: 0 or -errno; -EBUSY where one loop only may poll
  // the file, and does. `events`, of uv_poll_event, are what is waited for; the callback gets what
  // `tell` answers.
  int Add(uint32_t handle, int events, Tell tell, Napi::Function callback, Loops loops);
  // Has the method of the receiver called in the callback's place with what is no error; with empty
  // ones the callback again. False where the descriptor is not polled.
  bool SetMethod(uint32_t handle, Napi::Object receiver, Napi::Function method);
  // Waits for other events from now on. False where the descriptor is not polled.
  bool Change(uint32_t handle, int events);
  // False where the descriptor is not polled. When it returns, it may be closed.
  bool Remove(uint32_t handle);
  // Whether polling it keeps the loop alive.
  bool SetRef(uint32_t handle, bool ref);

 private:
  struct Poll {
    Polls* owner;
    uint32_t handle;
    std::shared_ptr<Fd> fd;
    Tell tell;
    Napi::FunctionReference callback;
    Napi::FunctionReference method;  // empty, as the receiver, where the callback gets everything
    Napi::ObjectReference receiver;
    std::shared_ptr<OpenFile> occupied;  // null where other loops may poll it
    uv_poll_t uv = {};
  };

  explicit Polls(Napi::Env env);
  ~Polls() = default;
  static Polls* Start(Napi::Env env);
  void Start(Poll* poll, int events);
  void Ready(Poll* poll, int status, int events);
  void CallBack(Poll* poll, double answer);
  void Report(napi_value error);
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

void ExportPolls(Napi::Env env, Napi::Object exports);
