import { checkId, invalidType, invalidValue, requireObject } from '../core/arguments.ts';
import { binding } from '../core/binding.ts';
import { type CallName, check, checkBig } from '../core/call.ts';
import { callerPlace } from '../core/caller.ts';
import { Closable } from '../core/closable.ts';
import { EINVAL } from '../core/errno.ts';
import { VfioError } from '../core/errors.ts';
import { FileDescriptor, numberOfFd, takeFd } from '../core/file_descriptor.ts';
import { defineInspect } from '../core/inspect_handle.ts';
import type { Roots } from '../core/location.ts';
import type { OwnedFd } from '../core/owned_fd.ts';
import { type SharedToken, tokenOf } from '../core/shared_token.ts';
import { explainSync } from '../diagnose/explain.ts';
import { identify } from '../locate/identify.ts';
import { type RootOptions, rootsOf } from '../locate/roots.ts';
import { type BoundDevice, devIdOf, otherIommufd } from './bound_device.ts';
import { FaultQueue } from './fault_queue.ts';
import { type HardwareInfo, type HardwareType, readHardwareInfo } from './hardware_info.ts';
import { Ioas, type IoasParent } from './ioas.ts';
import { openMiscNode } from './node_identity.ts';

/** IOMMU_IOAS_MAP_FILE, IOMMU_OPTION_RLIMIT_MODE and the operations of IOMMU_OPTION. */
const ioasMapFile = 0x3b8f;
const rlimitMode = 0;
const optionSet = 0;
const optionGet = 1;

/** enum iommufd_vfio_ioas_op */
const vfioIoas = { set: 1, clear: 2 } as const;

/** How iommufd counts pinned pages against RLIMIT_MEMLOCK. */
export type RlimitMode = 'user' | 'process';

/** An open `/dev/iommu`: the space in which devices and their address spaces have ids. */
export class Iommufd extends Closable {
  readonly #fd: OwnedFd;
  #mapsFiles: boolean | undefined;

  readonly #identity: string;

  static {
    defineInspect(this, 'Iommufd', (iommufd) => {
      const { path, closed } = iommufd.#fd;
      return { path, state: closed ? 'closed' : 'open' };
    });
  }

  private constructor(fd: OwnedFd, identity = newIdentity()) {
    super();
    this.#fd = fd;
    this.#identity = identity;
  }

  /**
   * Opens `/dev/iommu`, or `iommu` in the folder that `devRoot` names. Does not block.
   *
   * @throws TypeError for `options` that are no object, for roots that are no absolute paths
   * @throws VfioError `ENOENT` (the kernel has no iommufd, or its module is not loaded), `EACCES`;
   *   `ERR_VFIO_NODE_MISMATCH` (the node is something else); `EMFILE`
   */
  static open(options: RootOptions = {}): Iommufd {
    const place = callerPlace();
    requireObject('options', options);
    return new Iommufd(openNode(rootsOf(options)).openedAt(place));
  }

  /**
   * Takes an iommufd that another program opened and passed on: checks that it is one. Use one
   * Iommufd for all descriptors of the same iommufd: an address space of one is refused by devices
   * of another.
   *
   * @param fd - is duplicated: a FileDescriptor is closed then, a number stays the caller's to
   *   close
   * @throws TypeError, RangeError for arguments that cannot be right
   * @throws VfioError `ERR_VFIO_NOT_VFIO`; `EBADF`, `EMFILE`; `ERR_VFIO_CLOSED` for a
   *   FileDescriptor that is closed
   */
  static fromFd(fd: number | FileDescriptor, options: RootOptions = {}): Iommufd {
    const place = callerPlace();
    numberOfFd('fd', fd);
    requireObject('options', options);
    const iommufd = Iommufd.taken(fd, rootsOf(options));
    iommufd.#fd.openedAt(place);
    return iommufd;
  }

  /** One of another program's, checked. @internal */
  static taken(fd: number | FileDescriptor, { sysfsRoot, devRoot }: Roots): Iommufd {
    const number = numberOfFd('fd', fd);
    if (identify(number, { sysfsRoot }).kind !== 'iommufd') throw notIommufd(number);
    const named = { what: 'the iommufd', path: `${devRoot}/iommu` };
    return takeFd(fd, named, (own) => new Iommufd(own));
  }

  /** One that a device opens for itself, and closes. @internal */
  static openFor(roots: Roots): Iommufd {
    return new Iommufd(openNode(roots).asPart());
  }

  /** Whether it is one, and not only called so. @internal */
  static isIommufd(value: unknown): value is Iommufd {
    return typeof value === 'object' && value !== null && #fd in value;
  }

  /**
   * The descriptor's number, for reading. The Iommufd stays its owner.
   *
   * @throws VfioError `ERR_VFIO_CLOSED`
   */
  get fd(): number {
    return this.#fd.number;
  }

  /**
   * Another descriptor of the iommufd, to hand to another program. What is mapped stays until both
   * are closed.
   *
   * @throws VfioError `ERR_VFIO_CLOSED`; `EMFILE`
   */
  dup(): FileDescriptor {
    const { number, path } = this.#fd;
    const place = callerPlace();
    return FileDescriptor.duplicate(number, 'a duplicate of the iommufd', path).openedAt(place);
  }

  /** @internal */
  static adopt(fd: OwnedFd, identity?: string): Iommufd {
    return new Iommufd(fd, identity);
  }

  /** The same for all descriptors of one iommufd, and for no others. @internal */
  get identity(): string {
    return this.#identity;
  }

  /**
   * A token by which another thread of this process opens the same iommufd: {@link fromShared}.
   *
   * @throws VfioError `ERR_VFIO_CLOSED`
   */
  share(): SharedToken<'iommufd'> {
    const { path } = this.#fd;
    return tokenOf('iommufd', { fd: this.#fd.offer(), path, identity: this.#identity });
  }

  /** What an address space needs of it. @internal */
  get parent(): IoasParent {
    return {
      fd: this.#fd,
      iommufdIdentity: this.#identity,
      mapsFiles: () => this.mapsFiles,
      share: () => this.share(),
    };
  }

  /** @internal */
  get owned(): OwnedFd {
    return this.#fd;
  }

  /**
   * Makes an empty I/O address space (IOMMU_IOAS_ALLOC). Does not block.
   *
   * @throws VfioError `ERR_VFIO_CLOSED`, `ENOMEM`
   */
  createIoas(): Ioas {
    const id = check(binding().ioasAlloc(this.#fd.native), this.#call('IOMMU_IOAS_ALLOC'));
    return Ioas.adopt(this.parent, id);
  }

  /**
   * An address space of this iommufd that another program made, by its id. Closing it destroys it,
   * for whoever has the iommufd; `mappings` has what is mapped through this object.
   *
   * @param id - its id in the iommufd
   * @throws TypeError, RangeError
   * @throws VfioError `ENOENT` where the id is not that of an address space; `ERR_VFIO_CLOSED`
   */
  openIoas(id: number): Ioas {
    const ioas = Ioas.adopt(this.parent, checkId('id', id, 1));
    // Nothing else asks for an address space and changes nothing.
    ioas.iovaRanges();
    return ioas;
  }

  /**
   * Whether the kernel maps files by themselves (IOMMU_IOAS_MAP_FILE, Linux 6.13), which is asked
   * once.
   *
   * @throws VfioError `ERR_VFIO_CLOSED`
   */
  get mapsFiles(): boolean {
    // A kernel that knows the request says that the probe is too short: EINVAL, not ENOTTY.
    this.#mapsFiles ??= binding().iommufdProbe(this.#fd.native, ioasMapFile) === EINVAL;
    return this.#mapsFiles;
  }

  /**
   * Whom pinned pages are counted for (IOMMU_OPTION_RLIMIT_MODE): `user`, the default, together
   * with all others of the user, or `process`. Can be set before the first device and address
   * space, by who has CAP_SYS_RESOURCE.
   *
   * @throws TypeError
   * @throws VfioError `EBUSY` (something is there already), `EPERM`; `ERR_VFIO_CLOSED`
   */
  get rlimitMode(): RlimitMode {
    return this.#option(optionGet, 0n) === 1n ? 'process' : 'user';
  }

  set rlimitMode(mode: RlimitMode) {
    if (!['user', 'process'].includes(mode)) {
      throw invalidValue('rlimitMode', "'user' or 'process'", mode);
    }
    this.#option(optionSet, mode === 'process' ? 1n : 0n);
  }

  /**
   * Makes this process the one whose limit pays for all pages that are mapped, after it got the
   * descriptor of another (IOMMU_IOAS_CHANGE_PROCESS, Linux 6.14). All maps have to be of files,
   * which those of DmaBuffers are there.
   *
   * @throws VfioError `EINVAL` (other maps are there), `ENOTTY`, `ENOMEM`; `ERR_VFIO_CLOSED`
   */
  async changeProcess(): Promise<void> {
    const answer = await binding().ioasChangeProcess(this.#fd.native);
    check(answer, this.#call('IOMMU_IOAS_CHANGE_PROCESS'));
  }

  /**
   * What the IOMMU in front of a device can do (IOMMU_GET_HW_INFO). Does not block.
   *
   * @param type - which of the structs of an IOMMU to ask for that has several, as a Tegra241's
   *   SMMUv3 has (Linux 6.17); its own by default
   * @throws TypeError, RangeError
   * @throws VfioError `ENOENT` for an mdev, which has none, and with the reason `other-iommufd`;
   *   `ENOTSUP` for another type, or on an older kernel; `ERR_VFIO_CLOSED`
   */
  hardwareInfo(device: BoundDevice, type?: HardwareType): HardwareInfo {
    const call = this.#call('IOMMU_GET_HW_INFO');
    return readHardwareInfo(this.#fd, devIdOf(device, this.#identity, call), type);
  }

  /**
   * Says which address space the groups get whose container this iommufd becomes (the backend
   * `compat`), instead of the one that the kernel makes for the first of them; undefined has it make
   * one again (IOMMU_VFIO_IOAS). Those that are in it already change with it. Does not block.
   *
   * @throws TypeError
   * @throws VfioError `ENOENT` for one of another iommufd; `ERR_VFIO_CLOSED`
   */
  setCompatIoas(ioas: Ioas | undefined): void {
    if (ioas !== undefined && !Ioas.isIoas(ioas)) throw invalidType('ioas', 'an Ioas', ioas);
    const call = this.#call('IOMMU_VFIO_IOAS');
    if (ioas !== undefined && ioas.iommufdIdentity !== this.#identity) {
      throw otherIommufd('the address space', call);
    }
    const operation = ioas === undefined ? vfioIoas.clear : vfioIoas.set;
    check(binding().compatIoas(this.#fd.native, operation, ioas?.id ?? 0), call);
  }

  /**
   * Makes a queue for page faults (IOMMU_FAULT_QUEUE_ALLOC, Linux 6.11).
   *
   * @throws VfioError `ENOTTY`; `ERR_VFIO_CLOSED`
   */
  createFaultQueue(): FaultQueue {
    return FaultQueue.create(this.#fd);
  }

  /**
   * Closes the descriptor, and with it every address space that no open device still uses. Closing
   * twice is harmless.
   *
   * @throws VfioError what the kernel answers; the descriptor is closed all the same
   */
  close(): Promise<void> {
    return this.#fd.close();
  }

  /** The blocking form of {@link close}. */
  closeSync(): void {
    this.#fd.closeSync();
  }

  #option(operation: number, value: bigint): bigint {
    const answer = binding().iommuOption(this.#fd.native, rlimitMode, operation, 0, value);
    return checkBig(answer, this.#call('IOMMU_OPTION'));
  }

  #call(request: string): CallName {
    return { syscall: 'ioctl', request, path: this.#fd.path };
  }
}

function notIommufd(fd: number): VfioError {
  const message = `the descriptor ${fd} is a VFIO device, not an iommufd`;
  return new VfioError({ code: 'ERR_VFIO_NOT_VFIO', message });
}

/** No thread opens two in one nanosecond. */
function newIdentity(): string {
  const { threadId } = process.getBuiltinModule('node:worker_threads');
  return `${threadId}.${process.hrtime.bigint()}`;
}

function openNode(roots: Roots): OwnedFd {
  try {
    return openMiscNode({ name: 'iommu', below: 'iommu', what: 'the iommufd' }, roots);
  } catch (error) {
    throw explainSync(error, () => ({ roots }));
  }
}

/** @throws TypeError `ERR_INVALID_ARG_TYPE` for what is there and no Iommufd */
export function checkIommufd(given: unknown, required = false): void {
  if ((given === undefined && !required) || Iommufd.isIommufd(given)) return;
  throw invalidType('iommufd', 'an Iommufd', given);
}
