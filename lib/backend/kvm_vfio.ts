import { checkFdNumber, invalidType } from '../core/arguments.ts';
import { type Answer, binding, type NativeFd } from '../core/binding.ts';
import { type CallName, check } from '../core/call.ts';
import { callerPlace } from '../core/caller.ts';
import { Closable } from '../core/closable.ts';
import { EBADF, EIO } from '../core/errno.ts';
import { explained, ofKvm, VfioError } from '../core/errors.ts';
import { FileDescriptor, numberOfFd, takeFd } from '../core/file_descriptor.ts';
import { defineInspect } from '../core/inspect_handle.ts';
import { OwnedFd } from '../core/owned_fd.ts';
import {
  call,
  closing,
  inOrder,
  run,
  runSync,
  type Steps,
  undoAndThrow,
  undoing,
} from '../core/steps.ts';
import { kvmCause } from '../diagnose/kvm_causes.ts';

/** The kernel's name of such a file. */
const named = { what: 'the VFIO device of the VM', path: 'anon_inode:kvm-vfio' };

const attributes = {
  kvmVfioAdd: 'KVM_DEV_VFIO_FILE_ADD',
  kvmVfioRemove: 'KVM_DEV_VFIO_FILE_DEL',
} as const;

type FileCall = keyof typeof attributes;

function told(name: FileCall): CallName {
  return { syscall: 'ioctl', request: attributes[name], path: named.path };
}

/**
 * What KVM can be told of: a {@link VfioDevice} or a {@link VfioCdev}, what `beforeBind` gets, or the
 * number of a descriptor of a device or a legacy group.
 */
export type KvmFile = number | { readonly fd: number };

/**
 * A KVM VM's VFIO device (KVM_DEV_TYPE_VFIO): by it KVM learns of the devices that the VM has, and
 * their drivers learn of the VM. A VM has one at most. Only the process that made the VM may use
 * it, so this is for a VMM that runs in this process, whose own addon calls KVM.
 *
 * KVM keeps what it was told of open, until it is removed or this is closed. So a device is opened
 * with the option `kvm`, which removes it before it closes; whoever adds one by {@link add} removes
 * it before closing it.
 */
export class KvmVfio extends Closable {
  readonly #fd: OwnedFd;
  readonly #members = new Set<KvmMember>();

  static {
    defineInspect(this, 'KvmVfio', (kvm) => ({ state: kvm.#fd.closed ? 'closed' : 'open' }));
  }

  private constructor(fd: OwnedFd) {
    super();
    this.#fd = fd;
  }

  /**
   * Has the VM make its VFIO device (KVM_CREATE_DEVICE).
   *
   * @param vm - a descriptor of the VM, from KVM_CREATE_VM, which stays its owner's. The VM lives as
   *   long as this is open.
   * @throws TypeError, RangeError for what is no descriptor
   * @throws VfioError with the reasons `not-a-vm` (`ENOTTY`, `EINVAL`), `vm-of-other-process` (`EIO`),
   *   `vm-has-vfio` (`EBUSY`), `kvm-without-vfio` (`ENODEV`); `EBADF`
   */
  static async create(vm: number | FileDescriptor): Promise<KvmVfio> {
    const place = callerPlace();
    const kvm = await run(KvmVfio.#create(vm));
    kvm.#fd.openedAt(place);
    return kvm;
  }

  /** The blocking form of {@link create}. */
  static createSync(vm: number | FileDescriptor): KvmVfio {
    const place = callerPlace();
    const kvm = runSync(KvmVfio.#create(vm));
    kvm.#fd.openedAt(place);
    return kvm;
  }

  static *#create(vm: unknown): Steps<KvmVfio> {
    const own = duplicateOf(numberOfFd('vm', vm), 'the VM');
    const kvm = yield* undoing(KvmVfio.#createIn(own), closing(own));
    yield* undoing(closing(own), closing(kvm));
    return kvm;
  }

  static *#createIn(vm: OwnedFd): Steps<KvmVfio> {
    const answer = yield* call('kvmCreateVfio', vm.native);
    const native = checkKvm(answer, { syscall: 'ioctl', request: 'KVM_CREATE_DEVICE' });
    return new KvmVfio(OwnedFd.adopt(native as NativeFd, named.what, named.path));
  }

  /**
   * Takes the VFIO device that the VM has already, as where the VMM made it by KVM_CREATE_DEVICE.
   *
   * @param fd - is duplicated: a FileDescriptor is closed then, a number stays the caller's to
   *   close
   * @throws TypeError, RangeError for arguments that cannot be right
   * @throws VfioError `ERR_VFIO_NOT_VFIO`; `EIO`, reason `vm-of-other-process`; `EBADF`
   */
  static fromFd(fd: number | FileDescriptor): KvmVfio {
    const place = callerPlace();
    return takeFd(fd, named, (own) => {
      try {
        checkIsKvmVfio(own, numberOfFd('fd', fd));
        return new KvmVfio(own.openedAt(place));
      } catch (error) {
        return runSync(undoAndThrow(error, closing(own)));
      }
    });
  }

  /** Whether it is one, and not only called so. @internal */
  static isKvmVfio(value: unknown): value is KvmVfio {
    return typeof value === 'object' && value !== null && #members in value;
  }

  /**
   * The descriptor's number. The KvmVfio stays its owner.
   *
   * @throws VfioError `ERR_VFIO_CLOSED`
   */
  get fd(): number {
    return this.#fd.number;
  }

  /** @internal */
  get closed(): boolean {
    return this.#fd.closed;
  }

  /**
   * Tells KVM of a device or a legacy group (KVM_DEV_VFIO_FILE_ADD). The driver of a device learns
   * of KVM when it is bound, so this comes before {@link VfioCdev.bind}, in `beforeBind`, and for a
   * group before its devices are opened. Of a device that is bound already, KVM alone learns: that
   * its DMA may pass the caches by, say.
   *
   * @throws TypeError, RangeError for what is no descriptor
   * @throws VfioError with the reasons `vm-has-device` (`EEXIST`), `not-for-kvm` (`EINVAL`),
   *   `vm-of-other-process` (`EIO`); `EBADF`; `ERR_VFIO_CLOSED`
   */
  async add(file: KvmFile): Promise<void> {
    await run(this.#tellOf(file, 'kvmVfioAdd'));
  }

  /** The blocking form of {@link add}. */
  addSync(file: KvmFile): void {
    runSync(this.#tellOf(file, 'kvmVfioAdd'));
  }

  /**
   * Has KVM forget a device or a group, and close it (KVM_DEV_VFIO_FILE_DEL). A driver that works
   * with KVM keeps the VM until the device is closed, too.
   *
   * @throws TypeError, RangeError for what is no descriptor
   * @throws VfioError with the reasons `vm-lacks-device` (`ENOENT`), `vm-of-other-process` (`EIO`);
   *   `EBADF`; `ERR_VFIO_CLOSED`
   */
  async remove(file: KvmFile): Promise<void> {
    await run(this.#tellOf(file, 'kvmVfioRemove'));
  }

  /** The blocking form of {@link remove}. */
  removeSync(file: KvmFile): void {
    runSync(this.#tellOf(file, 'kvmVfioRemove'));
  }

  /**
   * Tells KVM of a file, and keeps a descriptor of it by which it can be removed, whatever becomes
   * of the other.
   *
   * @internal
   */
  *join(file: OwnedFd): Steps<KvmMember> {
    const own = duplicateOf(file.number);
    yield* undoing(this.#tell('kvmVfioAdd', own), closing(own));
    return this.#memberBy(own);
  }

  /**
   * The same, where KVM is told by the call that binds: with one change of threads for both.
   * Answers what that call answered, too.
   *
   * @internal
   */
  *joinBy(file: OwnedFd, bind: (kvm: NativeFd) => Steps<Answer>): Steps<[KvmMember, Answer]> {
    const own = duplicateOf(file.number);
    const answer = yield* undoing(this.#toldBy(bind), closing(own));
    return [this.#memberBy(own), answer];
  }

  *#toldBy(bind: (kvm: NativeFd) => Steps<Answer>): Steps<Answer> {
    const answer = yield* bind(this.#fd.native);
    const refused = answer !== undefined && answer < ofKvm && answer > 2 * ofKvm;
    if (refused) checkKvm(answer - ofKvm, told('kvmVfioAdd'));
    return answer;
  }

  #memberBy(own: OwnedFd): KvmMember {
    const member: KvmMember = new KvmMember((): Steps<void> => this.#leave(member, own));
    this.#members.add(member);
    return member;
  }

  *#leave(member: KvmMember, own: OwnedFd): Steps<void> {
    this.#members.delete(member);
    // What is closed has let go of all.
    if (this.#fd.closed) yield* closing(own);
    else yield* inOrder(this.#tell('kvmVfioRemove', own), closing(own));
  }

  *#tell(name: FileCall, file: OwnedFd): Steps<void> {
    const answer = yield* call(name, this.#fd.native, file.native);
    checkKvm(answer, told(name));
  }

  /**
   * Has KVM forget all devices, and closes the descriptor. The devices stay open. Closing twice is
   * harmless.
   *
   * @throws VfioError what the kernel answers; AggregateError where it does so more than once. The
   *   descriptor is closed all the same
   */
  close(): Promise<void> {
    return run(this.#close());
  }

  /** The blocking form of {@link close}. */
  closeSync(): void {
    runSync(this.#close());
  }

  *#close(): Steps<void> {
    // Kernels before 6.3 forget nothing before the VM is gone, unless they are told to.
    yield* inOrder(...[...this.#members].map((each) => each.leave()), closing(this.#fd));
  }

  *#tellOf(file: unknown, name: FileCall): Steps<void> {
    // A device whose `fd` is asked for stops listening to requests.
    if (hasKvmFile(file)) return yield* this.#tell(name, file.kvmFile);
    const own = duplicateOf(numberOf(file));
    yield* inOrder(this.#tell(name, own), closing(own));
  }
}

/** What KVM was told of, until it leaves, once. */
export class KvmMember {
  #leave: (() => Steps<void>) | undefined;

  constructor(leave: () => Steps<void>) {
    this.#leave = leave;
  }

  *leave(): Steps<void> {
    const leave = this.#leave;
    this.#leave = undefined;
    if (leave) yield* leave();
  }
}

/** Of a device or a cdev of ours: what KVM is to be told of, the device itself or its group. */
function hasKvmFile(file: unknown): file is { readonly kvmFile: OwnedFd } {
  if (typeof file !== 'object' || file === null || !('kvmFile' in file)) return false;
  return file.kvmFile instanceof OwnedFd;
}

function numberOf(file: unknown): number {
  const expected = 'a VfioDevice, a VfioCdev, { fd } or the number of an open descriptor';
  if (typeof file === 'number') return checkFdNumber('file', file);
  if (typeof file !== 'object' || file === null) throw invalidType('file', expected, file);
  if (!('fd' in file)) throw invalidType('file', expected, file);
  return checkFdNumber('file.fd', file.fd);
}

function duplicateOf(number: number, what = 'what KVM is told of'): OwnedFd {
  return OwnedFd.duplicate(number, what, `/proc/self/fd/${number}`).asPart();
}

/** @throws VfioError with its reason */
function checkKvm(answer: Answer, name: CallName): number {
  try {
    return check(answer, name);
  } catch (error) {
    if (!(error instanceof VfioError)) throw error;
    const cause = kvmCause(error);
    throw cause ? explained(error, cause) : error;
  }
}

function checkIsKvmVfio(own: OwnedFd, number: number): void {
  const answer = binding().kvmVfioHasAdd(own.native);
  if (answer === EIO || answer === EBADF) {
    checkKvm(answer, { syscall: 'ioctl', request: 'KVM_HAS_DEVICE_ATTR' });
  }
  if (answer === 0) return;
  const message = `the descriptor ${number} is not that of a KVM VM's VFIO device`;
  throw new VfioError({ code: 'ERR_VFIO_NOT_VFIO', message });
}

/** @throws TypeError `ERR_INVALID_ARG_TYPE` */
export function checkKvmOption(kvm: unknown): void {
  if (kvm === undefined || KvmVfio.isKvmVfio(kvm)) return;
  throw invalidType('kvm', 'a KvmVfio', kvm);
}
