#include "polls.h"

#include <cerrno>
#include <utility>

#include "addon.h"
#include "arguments.h"
#include "exceptions.h"
#include "export.h"

Polls::Polls(Napi::Env env) : env_(env), context_(env, "vfio.poll") {}

Polls* Polls::Start(Napi::Env env) {
  auto* self = new Polls(env);
  if (static_cast<napi_async_context>(self->context_) == nullptr) {
    delete self;
    return nullptr;
  }
  // Asynchronous, because uv_close needs a turn of the loop that a plain hook does not get.
  const auto stop = [](napi_async_cleanup_hook_handle, void* data) {
    static_cast<Polls*>(data)->Stop();
  };
  if (napi_add_async_cleanup_hook(env, stop, self, &self->cleanup_) == napi_ok) return self;
  delete self;
  return nullptr;
}

Polls* Polls::Of(Napi::Env env) {
  Polls*& polls = AddonOf(env).polls;
  if (polls == nullptr) polls = Start(env);
  return polls;
}

int Polls::Add(uint32_t handle, int events, Tell tell, Napi::Function callback, Loops loops) {
  uv_loop_t* loop = nullptr;
  if (napi_get_uv_event_loop(env_, &loop) != napi_ok) return -ECANCELED;
  if (polls_.contains(handle)) return -EEXIST;
  // Found here, so that closing the handle finds the poll: libuv must not poll what is closed.
  std::shared_ptr<Fd> fd = AddonOf(env_).fds.Share(handle);
  if (!fd) return -EBADF;
  std::unique_ptr<Poll> poll(
      new Poll{this, handle, std::move(fd), tell, Napi::Persistent(callback), {}, {}, nullptr});
  if (poll->callback.IsEmpty()) return -ECANCELED;
  if (loops == Loops::kOne) {
    poll->occupied = poll->fd->file();
    if (!poll->occupied->Occupy(poll.get())) return -EBUSY;
  }
  const int error = uv_poll_init(loop, &poll->uv, poll->fd->number());
  if (error != 0) {
    if (poll->occupied) poll->occupied->Vacate(poll.get());
    return error;
  }
  poll->uv.data = poll.get();
  polls_.emplace(handle, poll.get());
  uv_handles_++;
  Start(poll.release(), events);  // libuv's until Closed
  return 0;
}

void Polls::Start(Poll* poll, int events) {
  const auto ready = [](uv_poll_t* uv, int status, int now) {
    auto* ours = static_cast<Poll*>(uv->data);
    ours->owner->Ready(ours, status, now);
  };
  // Fails only for a handle that is closing.
  uv_poll_start(&poll->uv, events, ready);
}

bool Polls::Change(uint32_t handle, int events) {
  const auto found = polls_.find(handle);
  if (found == polls_.end()) return false;
  Start(found->second, events);
  return true;
}

bool Polls::Remove(uint32_t handle) {
  const auto found = polls_.find(handle);
  if (found == polls_.end()) return false;
  Close(found->second);
  return true;
}

bool Polls::SetMethod(uint32_t handle, Napi::Object receiver, Napi::Function method) {
  const auto found = polls_.find(handle);
  if (found == polls_.end()) return false;
  Poll* poll = found->second;
  poll->method.Reset();
  poll->receiver.Reset();
  if (method.IsEmpty()) return true;
  poll->receiver = Napi::Persistent(receiver);
  // Without a receiver the callback goes on getting everything.
  if (!poll->receiver.IsEmpty()) poll->method = Napi::Persistent(method);
  return true;
}

bool Polls::SetRef(uint32_t handle, bool ref) {
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

void Polls::Ready(Poll* poll, int status, int events) {
  const double answer = status < 0 ? status : poll->tell(poll->fd->number(), events);
  if (answer == -EAGAIN) return;
  if (answer < 0) Close(poll);
  CallBack(poll, answer);
}

void Polls::CallBack(Poll* poll, double answer) {
  if (stopping_) return;
  // How soon a handler runs depends on all that stands before it: Node-API is called without more.
  const Napi::HandleScope handles(env_);
  const bool is_method = answer >= 0 && !poll->method.IsEmpty();
  const napi_ref function_ref = is_method ? poll->method : poll->callback;
  const napi_ref receiver_ref = is_method ? static_cast<napi_ref>(poll->receiver) : function_ref;
  napi_value function = nullptr;
  napi_value receiver = nullptr;
  napi_value argument = nullptr;
  napi_value result = nullptr;
  if (napi_get_reference_value(env_, function_ref, &function) == napi_ok &&
      napi_get_reference_value(env_, receiver_ref, &receiver) == napi_ok &&
      napi_create_double(env_, answer, &argument) == napi_ok && function != nullptr &&
      receiver != nullptr &&
      // Microtasks and ticks run when it ends.
      napi_make_callback(env_, context_, receiver, function, 1, &argument, &result) == napi_ok) {
    return;
  }
  // Where nothing was thrown Node-API failed, as it does while the environment ends: there is
  // nobody to tell.
  const napi_value error = TakeException(env_);
  if (error != nullptr) Report(error);
}

// What JavaScript threw: otherwise nobody would hear of it. What it left for later runs before, as
// after a function that throws nothing.
void Polls::Report(napi_value error) {
  napi_callback_scope scope = nullptr;
  if (napi_open_callback_scope(env_, nullptr, context_, &scope) == napi_ok) {
    napi_close_callback_scope(env_, scope);
  }
  TakeException(env_);
  napi_fatal_exception(env_, error);
}

// Stops polling here and now. The rest needs a turn of the loop.
void Polls::Close(Poll* poll) {
  if (polls_.erase(poll->handle) == 0) return;
  if (poll->occupied) poll->occupied->Vacate(poll);
  uv_close(reinterpret_cast<uv_handle_t*>(&poll->uv), [](uv_handle_t* uv) {
    auto* ours = static_cast<Poll*>(uv->data);
    ours->owner->Closed(ours);
  });
}

void Polls::Closed(Poll* poll) {
  {
    Napi::HandleScope handles(env_);
    delete poll;
  }
  uv_handles_--;
  if (stopping_ && uv_handles_ == 0) End();
}

// The environment ends.
void Polls::Stop() {
  stopping_ = true;
  while (!polls_.empty()) Close(polls_.begin()->second);
  if (uv_handles_ == 0) End();
}

void Polls::End() {
  const napi_async_cleanup_hook_handle cleanup = cleanup_;
  delete this;
  napi_remove_async_cleanup_hook(cleanup);  // last: the environment may go with it
}

namespace {

// The events that came.
double TellEvents(int, int events) { return events; }

// fdPoll(handle, events, callback): has the loop call back when the descriptor is readable (1),
// writable (2) or its other end is gone (4), and keep alive until then. The first callback stays; 0
// ends it, as closing does.
std::optional<Answer> FdPoll(const Napi::CallbackInfo& info) {
  const auto handle = HandleArgument(info, 0);
  const auto events = Uint32Argument(info, 1);
  if (!handle || !events || *events > 7 || !info[2].IsFunction()) return {};
  Polls* polls = Polls::Of(info.Env());
  if (polls == nullptr) return {};
  if (*events == 0) return polls->Remove(*handle);
  static_assert(UV_READABLE == 1 && UV_WRITABLE == 2 && UV_DISCONNECT == 4);
  const int wanted = static_cast<int>(*events);
  if (polls->Change(*handle, wanted)) return 0;
  const auto callback = info[2].As<Napi::Function>();
  return polls->Add(*handle, wanted, TellEvents, callback, Polls::Loops::kMany);
}

}  // namespace

void ExportPolls(Napi::Env env, Napi::Object exports) {
  ExportShortCall<FdPoll>(env, exports, "fdPoll");
}
