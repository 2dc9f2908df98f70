// Loaded by test/support/faulting.ts: handles SIGBUS by passing it on to who handled it before.
#include <signal.h>
#include <stddef.h>

static struct sigaction before;

static void PassOn(int signal, siginfo_t* info, void* context) {
  before.sa_sigaction(signal, info, context);
}

__attribute__((constructor)) static void Install(void) {
  struct sigaction ours = {.sa_sigaction = PassOn, .sa_flags = SA_SIGINFO | SA_NODEFER};
  sigemptyset(&ours.sa_mask);
  sigaction(SIGBUS, &ours, &before);
}
