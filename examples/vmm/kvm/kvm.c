// KVM for main.ts: what a VMM needs of /dev/kvm, one ioctl a function, and the guest that it boots.
// The package has none of this; a VMM brings its own. For x86-64; in this folder:
//
//   npx node-gyp rebuild
#define NAPI_VERSION 8
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <node_api.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { kMostArguments = 6, kGuestAt = 0x1000 };

// What a function got: numbers, and BigInts, all as 64 bits.
typedef struct {
  uint64_t value[kMostArguments];
} Arguments;

static Arguments Read(napi_env env, napi_callback_info info) {
  Arguments arguments = {{0}};
  napi_value given[kMostArguments];
  size_t count = kMostArguments;
  napi_get_cb_info(env, info, &count, given, NULL, NULL);
  for (size_t at = 0; at < count && at < kMostArguments; at++) {
    int64_t number = 0;
    bool lossless = false;
    if (napi_get_value_int64(env, given[at], &number) == napi_ok) {
      arguments.value[at] = (uint64_t)number;
    } else {
      napi_get_value_bigint_uint64(env, given[at], &arguments.value[at], &lossless);
    }
  }
  return arguments;
}

static napi_value Number(napi_env env, int64_t number) {
  napi_value value = NULL;
  napi_create_int64(env, number, &value);
  return value;
}

// The result of a system call, or an error with its name.
static napi_value Answer(napi_env env, int result, const char* call) {
  if (result >= 0) return Number(env, result);
  napi_throw_error(env, strerrorname_np(errno), call);
  return NULL;
}

// createVm() -> its descriptor
static napi_value CreateVm(napi_env env, napi_callback_info info) {
  (void)info;
  const int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
  if (kvm < 0) return Answer(env, kvm, "open /dev/kvm");
  // KVM makes it close-on-exec.
  const int vm = ioctl(kvm, KVM_CREATE_VM, 0);
  const int error = errno;
  close(kvm);
  errno = error;
  return Answer(env, vm, "KVM_CREATE_VM");
}

// createIrqchip(vm): two 8259s, an I/O APIC and a local APIC for each vCPU
static napi_value CreateIrqchip(napi_env env, napi_callback_info info) {
  const Arguments given = Read(env, info);
  return Answer(env, ioctl((int)given.value[0], KVM_CREATE_IRQCHIP, 0), "KVM_CREATE_IRQCHIP");
}

// setMemory(vm, slot, guest address, size, address here); a size of 0 takes the slot away
static napi_value SetMemory(napi_env env, napi_callback_info info) {
  const Arguments given = Read(env, info);
  struct kvm_userspace_memory_region region = {
      .slot = (uint32_t)given.value[1],
      .guest_phys_addr = given.value[2],
      .memory_size = given.value[3],
      .userspace_addr = given.value[4],
  };
  return Answer(env, ioctl((int)given.value[0], KVM_SET_USER_MEMORY_REGION, &region),
                "KVM_SET_USER_MEMORY_REGION");
}

// createEventfd() -> its descriptor
static napi_value CreateEventfd(napi_env env, napi_callback_info info) {
  (void)info;
  return Answer(env, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd");
}

// setIrqfd(vm, eventfd, line[, another]): the line goes up and down when the eventfd is signalled;
// with another eventfd it stays up until the guest has ended the interrupt, which signals that one
static napi_value SetIrqfd(napi_env env, napi_callback_info info) {
  const Arguments given = Read(env, info);
  struct kvm_irqfd irqfd = {.fd = (uint32_t)given.value[1], .gsi = (uint32_t)given.value[2]};
  if (given.value[3] != 0) {
    irqfd.flags = KVM_IRQFD_FLAG_RESAMPLE;
    irqfd.resamplefd = (uint32_t)given.value[3];
  }
  return Answer(env, ioctl((int)given.value[0], KVM_IRQFD, &irqfd), "KVM_IRQFD");
}

// createVcpu(vm) -> its descriptor: in real mode, at the guest's first instruction
static napi_value CreateVcpu(napi_env env, napi_callback_info info) {
  const Arguments given = Read(env, info);
  const int vcpu = ioctl((int)given.value[0], KVM_CREATE_VCPU, 0);
  if (vcpu < 0) return Answer(env, vcpu, "KVM_CREATE_VCPU");
  struct kvm_sregs sregs;
  struct kvm_regs regs = {.rip = kGuestAt, .rsp = kGuestAt, .rflags = 2};
  int result = ioctl(vcpu, KVM_GET_SREGS, &sregs);
  if (result == 0) {
    sregs.cs.base = 0;
    sregs.cs.selector = 0;
    result = ioctl(vcpu, KVM_SET_SREGS, &sregs);
  }
  if (result == 0) result = ioctl(vcpu, KVM_SET_REGS, &regs);
  if (result == 0) return Number(env, vcpu);
  const int error = errno;
  close(vcpu);
  errno = error;
  return Answer(env, -1, "KVM_SET_REGS");
}

// A vCPU on a thread of libuv's until it leaves the guest.
typedef struct {
  napi_async_work work;
  napi_deferred deferred;
  int vcpu;
  int error;
  uint32_t reason;
  uint32_t port;
  uint32_t value;
} Exit;

static void Run(napi_env env, void* data) {
  (void)env;
  Exit* leaving = data;
  const int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
  const int size = kvm < 0 ? -1 : ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
  if (kvm >= 0) close(kvm);
  struct kvm_run* run = MAP_FAILED;
  if (size > 0) {
    run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, leaving->vcpu, 0);
  }
  if (run == MAP_FAILED || (ioctl(leaving->vcpu, KVM_RUN, 0) < 0 && errno != EINTR)) {
    leaving->error = errno;
  } else {
    leaving->reason = run->exit_reason;
    if (run->exit_reason == KVM_EXIT_IO && run->io.direction == KVM_EXIT_IO_OUT) {
      leaving->port = run->io.port;
      memcpy(&leaving->value, (char*)run + run->io.data_offset, run->io.size);
    }
  }
  if (run != MAP_FAILED) munmap(run, (size_t)size);
}

static void SetNumber(napi_env env, napi_value object, const char* name, uint32_t number) {
  napi_set_named_property(env, object, name, Number(env, number));
}

static void Finish(napi_env env, napi_status status, void* data) {
  Exit* leaving = data;
  napi_value value = NULL;
  if (status == napi_ok && leaving->error == 0) {
    napi_create_object(env, &value);
    SetNumber(env, value, "reason", leaving->reason);
    SetNumber(env, value, "port", leaving->port);
    SetNumber(env, value, "value", leaving->value);
    napi_resolve_deferred(env, leaving->deferred, value);
  } else {
    napi_value text = NULL;
    napi_create_string_utf8(env, strerror(leaving->error), NAPI_AUTO_LENGTH, &text);
    napi_create_error(env, NULL, text, &value);
    napi_reject_deferred(env, leaving->deferred, value);
  }
  napi_delete_async_work(env, leaving->work);
  free(leaving);
}

// run(vcpu) -> a promise of { reason, port, value }, why it left the guest: KVM_EXIT_…
static napi_value RunVcpu(napi_env env, napi_callback_info info) {
  const Arguments given = Read(env, info);
  napi_value promise = NULL;
  napi_value name = NULL;
  Exit* leaving = calloc(1, sizeof(*leaving));
  if (leaving == NULL) return Answer(env, -1, "calloc");
  leaving->vcpu = (int)given.value[0];
  napi_create_promise(env, &leaving->deferred, &promise);
  napi_create_string_utf8(env, "KVM_RUN", NAPI_AUTO_LENGTH, &name);
  napi_create_async_work(env, NULL, name, Run, Finish, leaving, &leaving->work);
  napi_queue_async_work(env, leaving->work);
  return promise;
}

// The guest: 16-bit code at 0x1000, whose registers of edu are at 0xd0000. It tells what it sees by
// writes to ports: 1 is edu's identification, 2 a factorial that edu has computed when its
// interrupt comes, as often as the word at 0x804 says, 3 the first word that edu has copied within
// the guest's memory by DMA.
__asm__(
    ".pushsection .rodata\n"
    ".code16\n"
    "guest_code:\n"
    // No segment but that of the registers, which is fs.
    "  xorw %ax, %ax\n"
    "  movw %ax, %ds\n"
    "  movw %ax, %ss\n"
    "  movw $0xd000, %ax\n"
    "  movw %ax, %fs\n"
    "  movl %fs:0x00, %eax\n"
    "  outl %eax, $1\n"
    // The first 8259: interrupts from vector 0x20 on, and all but line 5 masked.
    "  movb $0x11, %al\n  outb %al, $0x20\n"
    "  movb $0x20, %al\n  outb %al, $0x21\n"
    "  movb $0x04, %al\n  outb %al, $0x21\n"
    "  movb $0x01, %al\n  outb %al, $0x21\n"
    "  movb $0xdf, %al\n  outb %al, $0x21\n"
    // Vector 0x25, at 4 * 0x25 of the table.
    "  movw $0x1000 + on_interrupt - guest_code, 0x94\n"
    "  movw $0, 0x96\n"
    "  movl $0x80, %fs:0x20\n"
    "again:\n"
    "  movl $10, %fs:0x08\n"
    "wait_for_interrupt:\n"
    "  sti\n"
    "  hlt\n"
    "  jmp wait_for_interrupt\n"
    "computed:\n"
    "  decl 0x804\n"
    "  jg again\n"
    "  movl %fs:0x08, %eax\n"
    "  outl %eax, $2\n"
    // 64 bytes of 0x2000 to edu's buffer, and from there to 0x3000.
    "  movl $0x2000, %fs:0x80\n"
    "  movl $0x40000, %fs:0x88\n"
    "  movl $64, %fs:0x90\n"
    "  movl $1, %fs:0x98\n"
    "reading:\n"
    "  testl $1, %fs:0x98\n"
    "  jnz reading\n"
    "  movl $0x40000, %fs:0x80\n"
    "  movl $0x3000, %fs:0x88\n"
    "  movl $64, %fs:0x90\n"
    "  movl $3, %fs:0x98\n"
    "writing:\n"
    "  testl $1, %fs:0x98\n"
    "  jnz writing\n"
    "  movl 0x3000, %eax\n"
    "  outl %eax, $3\n"
    "  cli\n"
    "  hlt\n"
    // Ends the wait from wherever it came, and with interrupts off, instead of returning: SVM as
    // QEMU emulates it lets one come between sti and hlt, and iret would go on to the hlt.
    "on_interrupt:\n"
    "  movl %fs:0x24, %eax\n"
    "  movl %eax, %fs:0x64\n"
    "  movb $0x20, %al\n"
    "  outb %al, $0x20\n"
    "  movw $0x1000, %sp\n"
    "  jmp computed\n"
    "guest_end:\n"
    ".code64\n"
    ".popsection\n");

extern const uint8_t guest_code[];
extern const uint8_t guest_end[];

// guest() -> its code
static napi_value Guest(napi_env env, napi_callback_info info) {
  (void)info;
  napi_value buffer = NULL;
  napi_create_buffer_copy(env, (size_t)(guest_end - guest_code), guest_code, NULL, &buffer);
  return buffer;
}

NAPI_MODULE_INIT() {
  const napi_property_descriptor functions[] = {
      {"createVm", NULL, CreateVm, NULL, NULL, NULL, napi_enumerable, NULL},
      {"createIrqchip", NULL, CreateIrqchip, NULL, NULL, NULL, napi_enumerable, NULL},
      {"setMemory", NULL, SetMemory, NULL, NULL, NULL, napi_enumerable, NULL},
      {"createEventfd", NULL, CreateEventfd, NULL, NULL, NULL, napi_enumerable, NULL},
      {"setIrqfd", NULL, SetIrqfd, NULL, NULL, NULL, napi_enumerable, NULL},
      {"createVcpu", NULL, CreateVcpu, NULL, NULL, NULL, napi_enumerable, NULL},
      {"run", NULL, RunVcpu, NULL, NULL, NULL, napi_enumerable, NULL},
      {"guest", NULL, Guest, NULL, NULL, NULL, napi_enumerable, NULL},
  };
  napi_define_properties(env, exports, sizeof(functions) / sizeof(functions[0]), functions);
  return exports;
}
