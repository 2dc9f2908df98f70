#include "slow_call.h"

#include "addon.h"
#include "exceptions.h"

SlowCalls::SlowCalls(Napi::Env env) : env_(env), context_(env, "vfio") {
  uv_mutex_init(&mutex_);
  uv_sem_init(&wake_, 0);
}

SlowCalls::~SlowCalls() {
  uv_sem_destroy(&wake_);
  uv_mutex_destroy(&mutex_);
}

SlowCalls* SlowCalls::Start(Napi::Env env) {
  uv_loop_t* loop = nullptr;
  if (napi_get_uv_event_loop(env, &loop) != napi_ok) return nullptr;
  auto* self = new SlowCalls(env);
  const auto settle = [](uv_async_t* handle) { static_cast<SlowCalls*>(handle->data)->Settle(); };
  if (static_cast<napi_async_context>(self->context_) == nullptr ||
      uv_async_init(loop, &self->settled_, settle) != 0) {
    delete self;
    return nullptr;
  }
  self->settled_.data = self;
  uv_unref(reinterpret_cast<uv_handle_t*>(&self->settled_));
  // Asynchronous, because uv_close needs a turn of the loop that a plain hook does not get.
  const auto stop = [](napi_async_cleanup_hook_handle, void* data) {
    static_cast<SlowCalls*>(data)->Stop();
  };
  if (napi_add_async_cleanup_hook(env, stop, self, &self->cleanup_) == napi_ok) return self;
  self->Close([](uv_handle_t* handle) { delete static_cast<SlowCalls*>(handle->data); });
  return nullptr;
}

Napi::Value SlowCalls::Run(Call call, WithoutThread without) {
  // Not Napi::Promise::Deferred: where no promise can be made, because the worker is being
  // terminated and runs on to its next interrupt check, that one has an uninitialized promise.
  napi_deferred deferred = nullptr;
  napi_value promise = nullptr;
  if (napi_create_promise(env_, &deferred, &promise) != napi_ok) return env_.Undefined();
  const int error = ReadyThread();
  if (error == 0) {
    Enqueue(std::make_unique<Job>(std::move(call), deferred));
  } else {
    Settle(deferred, without == WithoutThread::kBlock ? call() : Answer(kNoThread + error));
  }
  return Napi::Value(env_, promise);
}

// Makes a thread where all are busy. 0, or -errno where there is none to run a call.
int SlowCalls::ReadyThread() {
  uv_mutex_lock(&mutex_);
  const bool all_busy = waiting_.size() >= idle_;
  uv_mutex_unlock(&mutex_);
  if (!all_busy || threads_.size() >= kMaxThreads) return 0;
  const int error = AddThread();
  // Without a new thread the others will get to it, if there are any.
  return threads_.empty() ? error : 0;
}

void SlowCalls::Enqueue(std::unique_ptr<Job> job) {
  if (unsettled_++ == 0) uv_ref(reinterpret_cast<uv_handle_t*>(&settled_));
  uv_mutex_lock(&mutex_);
  waiting_.push_back(std::move(job));
  uv_mutex_unlock(&mutex_);
  uv_sem_post(&wake_);  // outside: the thread that wakes needs the mutex
}

int SlowCalls::AddThread() {
  uv_thread_options_t options = {};
  options.flags = UV_THREAD_HAS_STACK_SIZE;
  options.stack_size = size_t{256} * 1024;
  uv_thread_t thread;
  const auto work = [](void* self) { static_cast<SlowCalls*>(self)->Work(); };
  const int error = uv_thread_create_ex(&thread, &options, work, this);
  if (error != 0) return error;
  threads_.push_back(thread);
  uv_mutex_lock(&mutex_);
  idle_++;
  uv_mutex_unlock(&mutex_);
  return 0;
}

// One thread: takes jobs until the environment ends.
void SlowCalls::Work() {
  while (std::unique_ptr<Job> job = NextJob()) {
    job->answer = job->call();
    job->call = nullptr;  // gives its leases back: a close may wait for them
    uv_mutex_lock(&mutex_);
    done_.push_back(std::move(job));
    idle_++;
    uv_mutex_unlock(&mutex_);
    uv_async_send(&settled_);  // outside too; Stop joins this thread before the handle is closed
  }
}

// Waits for one; null where the environment ends. A semaphore, since who wakes from a condition has
// to get the mutex again, which is a system call more.
std::unique_ptr<SlowCalls::Job> SlowCalls::NextJob() {
  uv_sem_wait(&wake_);
  uv_mutex_lock(&mutex_);
  std::unique_ptr<Job> job;
  if (!stopping_) {
    idle_--;
    job = std::move(waiting_.front());
    waiting_.pop_front();
  }
  uv_mutex_unlock(&mutex_);
  return job;
}

// On the JavaScript thread, in a turn of the loop.
void SlowCalls::Settle() {
  uv_mutex_lock(&mutex_);
  Jobs done = std::move(done_);
  done_.clear();
  uv_mutex_unlock(&mutex_);
  unsettled_ -= done.size();
  if (unsettled_ == 0) uv_unref(reinterpret_cast<uv_handle_t*>(&settled_));
  Napi::HandleScope handles(env_);
  // Runs the promises' reactions when it ends. Fails only where the environment ends.
  napi_callback_scope scope = nullptr;
  const napi_status opened = napi_open_callback_scope(env_, nullptr, context_, &scope);
  for (const auto& job : done) Settle(job->deferred, job->answer);
  if (opened == napi_ok) napi_close_callback_scope(env_, scope);
}

// Fails only where the environment ends, and nobody waits any more.
void SlowCalls::Settle(napi_deferred deferred, const Answer& answer) {
  const napi_value value = answer.Value(env_);
  const napi_value error = TakeException(env_);
  if (error != nullptr) {
    napi_reject_deferred(env_, deferred, error);
    return;
  }
  napi_resolve_deferred(env_, deferred, value);
}

// The environment ends: calls already in the kernel finish, calls that wait are dropped, and no
// promise settles any more.
void SlowCalls::Stop() {
  uv_mutex_lock(&mutex_);
  stopping_ = true;
  waiting_.clear();
  uv_mutex_unlock(&mutex_);
  for (size_t at = 0; at < threads_.size(); at++) uv_sem_post(&wake_);
  for (uv_thread_t& thread : threads_) uv_thread_join(&thread);
  Close([](uv_handle_t* handle) {
    auto* self = static_cast<SlowCalls*>(handle->data);
    const napi_async_cleanup_hook_handle cleanup = self->cleanup_;
    delete self;
    napi_remove_async_cleanup_hook(cleanup);  // last: the environment may go with it
  });
}

void SlowCalls::Close(uv_close_cb closed) {
  uv_close(reinterpret_cast<uv_handle_t*>(&settled_), closed);
}

Napi::Value RunSlowly(Napi::Env env, Call call, WithoutThread without) {
  SlowCalls*& slow_calls = AddonOf(env).slow_calls;
  if (slow_calls == nullptr) slow_calls = SlowCalls::Start(env);
  if (slow_calls == nullptr) return env.Undefined();
  return slow_calls->Run(std::move(call), without);
}
