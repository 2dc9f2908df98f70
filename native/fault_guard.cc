#include "hot.h"

#include "fault_guard.h"

#include <signal.h>

#include <atomic>
#include <mutex>

constinit thread_local FaultGuard* volatile armed_guard = nullptr;

namespace {

// What handled SIGBUS when we came for the first time, and when we came last. Neither is changed or
// freed once it is here: a handler on another thread may be reading it.
constinit std::atomic<const struct sigaction*> original = nullptr;
constinit std::atomic<const struct sigaction*> previous = nullptr;

// How many calls of our handler are passing a signal on, on this thread. More than one where who
// was put over us, and then under us, passes on to who was there before: to us.
constinit thread_local int passing_on __attribute__((tls_model("initial-exec"))) = 0;

bool IsInside(const FaultGuard& guard, const void* address) {
  const auto* at = static_cast<const volatile std::byte*>(address);
  return at >= guard.start && at < guard.start + guard.size;
}

// A fault is raised by the kernel, for an access that returning makes again; a signal that somebody
// sent has si_code of zero or less, and returning would lose it.
void DieAsBefore(int signal, const siginfo_t* info) {
  struct sigaction fatal = {};
  fatal.sa_handler = SIG_DFL;
  sigaction(signal, &fatal, nullptr);
  if (info->si_code <= 0) static_cast<void>(raise(signal));
}

void Call(const struct sigaction& handler, int signal, siginfo_t* info, void* context) {
  if ((handler.sa_flags & SA_SIGINFO) != 0) {
    handler.sa_sigaction(signal, info, context);
  } else if (handler.sa_handler == SIG_DFL) {
    DieAsBefore(signal, info);
  } else if (handler.sa_handler == SIG_IGN) {
    // The kernel lets nobody ignore a fault.
    if (info->si_code > 0) DieAsBefore(signal, info);
  } else {
    handler.sa_handler(signal);
  }
}

void PassOn(int signal, siginfo_t* info, void* context) {
  if (passing_on > 1) return DieAsBefore(signal, info);
  const struct sigaction* next = passing_on == 0 ? previous : original;
  passing_on++;
  Call(*next, signal, info, context);
  passing_on--;
}

void OnBusError(int signal, siginfo_t* info, void* context) {
  FaultGuard* guard = armed_guard;
  if (guard != nullptr && info->si_code > 0 && IsInside(*guard, info->si_addr)) {
    armed_guard = nullptr;
    VFIO_TAKE_ESCAPE(guard->escape);
  }
  PassOn(signal, info, context);
}

bool IsOurs(const struct sigaction& handler) {
  return (handler.sa_flags & SA_SIGINFO) != 0 && handler.sa_sigaction == OnBusError;
}

bool IsSame(const struct sigaction& one, const struct sigaction& other) {
  return one.sa_flags == other.sa_flags && one.sa_sigaction == other.sa_sigaction;
}

// Before our handler is in place, which needs it. Kept for ever, so only what is new.
void Remember(const struct sigaction& before) {
  const struct sigaction* last = previous;
  if (last != nullptr && IsSame(*last, before)) return;
  const auto* kept = new struct sigaction(before);
  if (last == nullptr) original = kept;
  previous = kept;
}

constinit std::mutex installing;

}  // namespace

// The addon is linked with -z nodelete: the end of a worker cannot unload the code that the kernel
// calls.
int InstallFaultHandler() {
  const std::lock_guard lock(installing);
  struct sigaction current = {};
  if (sigaction(SIGBUS, nullptr, &current) != 0) return -errno;
  if (IsOurs(current)) return 0;
  Remember(current);
  struct sigaction ours = {};
  ours.sa_sigaction = OnBusError;
  // ONSTACK for threads that have a stack for signals; NODEFER because we leave by longjmp.
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  sigemptyset(&ours.sa_mask);
  return sigaction(SIGBUS, &ours, nullptr) == 0 ? 0 : -errno;
}
