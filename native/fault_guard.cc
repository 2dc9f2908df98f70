#include "fault_guard.h"

#include <signal.h>

constinit thread_local FaultGuard* volatile armed_guard = nullptr;

namespace {

// What handled SIGBUS before, written before our handler is in place.
struct sigaction previous = {};

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
  if (info->si_code <= 0) raise(signal);
}

void PassOn(int signal, siginfo_t* info, void* context) {
  if ((previous.sa_flags & SA_SIGINFO) != 0) {
    previous.sa_sigaction(signal, info, context);
  } else if (previous.sa_handler == SIG_DFL) {
    DieAsBefore(signal, info);
  } else if (previous.sa_handler == SIG_IGN) {
    // The kernel lets nobody ignore a fault.
    if (info->si_code > 0) DieAsBefore(signal, info);
  } else {
    previous.sa_handler(signal);
  }
}

void OnBusError(int signal, siginfo_t* info, void* context) {
  FaultGuard* guard = armed_guard;
  if (guard != nullptr && info->si_code > 0 && IsInside(*guard, info->si_addr)) {
    armed_guard = nullptr;
    siglongjmp(guard->escape, 1);
  }
  PassOn(signal, info, context);
}

int Install() {
  if (sigaction(SIGBUS, nullptr, &previous) != 0) return -errno;
  struct sigaction ours = {};
  ours.sa_sigaction = OnBusError;
  // ONSTACK for threads that have a stack for signals; NODEFER because we leave by longjmp.
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  sigemptyset(&ours.sa_mask);
  return sigaction(SIGBUS, &ours, nullptr) == 0 ? 0 : -errno;
}

}  // namespace

int InstallFaultHandler() {
  // Initialized once, whichever thread comes first. The addon is linked with -z nodelete: the end
  // of a worker cannot unload the code that the kernel calls.
  static const int result = Install();
  return result;
}
