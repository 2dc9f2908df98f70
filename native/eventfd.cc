#include "eventfd.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <utility>

#include "addon.h"
#include "arguments.h"

namespace {

// The count since the last read, or -errno; -EAGAIN where there was none.
double Read(int fd) {
  for (;;) {
    eventfd_t count = 0;
    if (eventfd_read(fd, &count) == 0) return static_cast<double>(count);
    if (errno != EINTR) return -errno;
  }
}

}  // namespace

EventfdPolls::EventfdPolls(Napi::Env env) : env_(env), context_(env, "vfio.eventfd") {}

EventfdPolls* EventfdPolls::Start(Napi::Env env) {
  auto* self = new EventfdPolls(env);
  // Asynchronous, because uv_close needs a turn of the loop that a plain hook does not get.
  const auto stop = [](napi_async_cleanup_hook_handle, void* data) {
    static_cast<EventfdPolls*>(data)->Stop();
  };
  if (napi_add_async_cleanup_hook(env, stop, self, &self->cleanup_) == napi_ok) return self;
  delete self;
  return nullptr;
}

int EventfdPolls::Add(uint32_t handle, std::shared_ptr<Fd> fd, Napi::Function callback, What what) {
  uv_loop_t* loop = nullptr;
  if (napi_get_uv_event_loop(env_, &loop) != napi_ok) return -ECANCELED;
  if (polls_.contains(handle)) return -EEXIST;
  std::unique_ptr<Poll> poll(
      new Poll{this, handle, std::move(fd), Napi::Persistent(callback), what});
  const int error = uv_poll_init(loop, &poll->uv, poll->fd->number());
  if (error != 0) return error;
  poll->uv.data = poll.get();
  polls_.emplace(handle, poll.get());
  uv_handles_++;
  const auto ready = [](uv_poll_t* uv, int status, int) {
    auto* ours = static_cast<Poll*>(uv->data);
    ours->owner->Ready(ours, status);
  };
  // Fails only for a handle that is closing.
  uv_poll_start(&poll->uv, UV_READABLE, ready);
  poll.release();  // libuv's until Closed
  return 0;
}

bool EventfdPolls::Remove(uint32_t handle) {
  const auto found = polls_.find(handle);
  if (found == polls_.end()) return false;
  Close(found->second);
  return true;
}

bool EventfdPolls::SetRef(uint32_t handle, bool ref) {
  const auto found = polls_.find(handle);
  if (found == polls_.end()) return false;
  auto* uv = reinterpret_cast<uv_handle_t*>(&found->second->uv);
  if (ref) {
    uv_ref(uv);
  } else {
    uv_unref(uv);
  }
  return true;
}

// One read for a wake: it takes all that was counted so far.
void EventfdPolls::Ready(Poll* poll, int status) {
  double answer = status;
  if (status >= 0) answer = poll->what == What::kEventfd ? Read(poll->fd->number()) : 0;
  if (answer == -EAGAIN) return;  // somebody else has read it
  if (answer < 0) Close(poll);
  CallBack(poll, answer);
}

void EventfdPolls::CallBack(Poll* poll, double answer) {
  if (stopping_) return;
  Napi::HandleScope handles(env_);
  const Napi::Function callback = poll->callback.Value();
  const napi_value argument = Napi::Number::New(env_, answer);
  napi_value result = nullptr;
  // Microtasks and ticks run when it ends.
  napi_make_callback(env_, context_, callback, callback, 1, &argument, &result);
  bool thrown = false;
  napi_is_exception_pending(env_, &thrown);
  if (!thrown) return;
  // Otherwise nobody would hear of it.
  napi_value error = nullptr;
  if (napi_get_and_clear_last_exception(env_, &error) == napi_ok) napi_fatal_exception(env_, error);
}

// Stops polling here and now. The rest needs a turn of the loop.
void EventfdPolls::Close(Poll* poll) {
  if (polls_.erase(poll->handle) == 0) return;
  uv_close(reinterpret_cast<uv_handle_t*>(&poll->uv), [](uv_handle_t* uv) {
    auto* ours = static_cast<Poll*>(uv->data);
    ours->owner->Closed(ours);
  });
}

void EventfdPolls::Closed(Poll* poll) {
  {
    Napi::HandleScope handles(env_);
    delete poll;
  }
  uv_handles_--;
  if (stopping_ && uv_handles_ == 0) End();
}

// The environment ends.
void EventfdPolls::Stop() {
  stopping_ = true;
  while (!polls_.empty()) Close(polls_.begin()->second);
  if (uv_handles_ == 0) End();
}

void EventfdPolls::End() {
  const napi_async_cleanup_hook_handle cleanup = cleanup_;
  delete this;
  napi_remove_async_cleanup_hook(cleanup);  // last: the environment may go with it
}

namespace {

// eventfdOpen() -> handle
Napi::Value EventfdOpen(const Napi::CallbackInfo& info) {
  const int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fd < 0) return Napi::Number::New(info.Env(), -errno);
  return Napi::Number::New(info.Env(), info.Env().GetInstanceData<Addon>()->fds.Add(fd));
}

// dup(descriptor number) -> handle
Napi::Value Dup(const Napi::CallbackInfo& info) {
  const auto number = Uint32Argument(info, 0);
  if (!number) return info.Env().Undefined();
  const int fd = fcntl(static_cast<int>(*number), F_DUPFD_CLOEXEC, 0);
  if (fd < 0) return Napi::Number::New(info.Env(), -errno);
  return Napi::Number::New(info.Env(), info.Env().GetInstanceData<Addon>()->fds.Add(fd));
}

// eventfdRead(handle) -> count, which is 0 from then on
Napi::Value EventfdRead(const Napi::CallbackInfo& info) {
  const auto fd = FdArgument(info, 0);
  if (!fd) return info.Env().Undefined();
  return Napi::Number::New(info.Env(), Read(*fd));
}

// eventfdWrite(handle, count): adds to what a read will answer
Napi::Value EventfdWrite(const Napi::CallbackInfo& info) {
  const auto fd = FdArgument(info, 0);
  const auto count = Uint32Argument(info, 1);
  if (!fd || !count) return info.Env().Undefined();
  const int result = RetryOnSignal([&] { return eventfd_write(*fd, *count); });
  return Napi::Number::New(info.Env(), result);
}

Napi::Value Watch(const Napi::CallbackInfo& info, EventfdPolls::What what) {
  auto* addon = info.Env().GetInstanceData<Addon>();
  const auto handle = Uint32Argument(info, 0);
  std::shared_ptr<Fd> fd = handle ? addon->fds.Find(*handle) : nullptr;
  if (!fd || !info[1].IsFunction()) return info.Env().Undefined();
  if (addon->eventfd_polls == nullptr) addon->eventfd_polls = EventfdPolls::Start(info.Env());
  if (addon->eventfd_polls == nullptr) return info.Env().Undefined();
  const auto callback = info[1].As<Napi::Function>();
  const int result = addon->eventfd_polls->Add(*handle, fd, callback, what);
  return Napi::Number::New(info.Env(), result);
}

// eventfdWatch(handle, callback)
Napi::Value EventfdWatch(const Napi::CallbackInfo& info) {
  return Watch(info, EventfdPolls::What::kEventfd);
}

// fdWatch(handle, callback): of any descriptor that can be polled
Napi::Value FdWatch(const Napi::CallbackInfo& info) {
  return Watch(info, EventfdPolls::What::kOther);
}

// eventfdUnwatch(handle) -> 1, or 0 where it was not watched
Napi::Value EventfdUnwatch(const Napi::CallbackInfo& info) {
  const auto handle = Uint32Argument(info, 0);
  if (!handle) return info.Env().Undefined();
  EventfdPolls* polls = info.Env().GetInstanceData<Addon>()->eventfd_polls;
  return Napi::Number::New(info.Env(), polls != nullptr && polls->Remove(*handle));
}

// eventfdRef(handle, boolean) -> 1, or 0 where it is not watched
Napi::Value EventfdRef(const Napi::CallbackInfo& info) {
  const auto handle = Uint32Argument(info, 0);
  if (!handle || !info[1].IsBoolean()) return info.Env().Undefined();
  EventfdPolls* polls = info.Env().GetInstanceData<Addon>()->eventfd_polls;
  const bool ref = info[1].As<Napi::Boolean>();
  return Napi::Number::New(info.Env(), polls != nullptr && polls->SetRef(*handle, ref));
}

}  // namespace

void ExportEventfd(Napi::Env env, Napi::Object exports) {
  exports["dup"] = Napi::Function::New(env, Dup, "dup");
  exports["eventfdOpen"] = Napi::Function::New(env, EventfdOpen, "eventfdOpen");
  exports["eventfdRead"] = Napi::Function::New(env, EventfdRead, "eventfdRead");
  exports["eventfdWrite"] = Napi::Function::New(env, EventfdWrite, "eventfdWrite");
  exports["eventfdWatch"] = Napi::Function::New(env, EventfdWatch, "eventfdWatch");
  exports["fdWatch"] = Napi::Function::New(env, FdWatch, "fdWatch");
  exports["eventfdUnwatch"] = Napi::Function::New(env, EventfdUnwatch, "eventfdUnwatch");
  exports["eventfdRef"] = Napi::Function::New(env, EventfdRef, "eventfdRef");
}
