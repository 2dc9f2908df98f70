import { bindNode } from '../backend/cdev_open.ts';
import { cdevFromFd, type FromFdOptions } from '../backend/from_fd.ts';
import type { Caller, OpenOptions, OpenSyncOptions } from '../backend/kinds.ts';
import { cdevs, openNodeOf } from '../backend/late_node.ts';
import { requireObject } from '../core/arguments.ts';
import { callerPlace } from '../core/caller.ts';
import { Closable } from '../core/closable.ts';
import { explained, VfioError } from '../core/errors.ts';
import { FileDescriptor } from '../core/file_descriptor.ts';
import { defineInspect } from '../core/inspect_handle.ts';
import type { DeviceSpec, SysfsDevice } from '../core/location.ts';
import { told } from '../core/operations.ts';
import type { DeviceNode, OwnedFd } from '../core/owned_fd.ts';
import { run, runSync, type Steps } from '../core/steps.ts';
import type { Iommufd } from '../iommu/iommufd.ts';
import { opens, VfioDevice } from './device.ts';
import { type BindOptions, checkDeviceOptions } from './options.ts';

/**
 * A device's node, open and proved by fstat to be the device that sysfs names, and not yet bound:
 * the form in which a VMM that binds by itself, such as QEMU, takes a device.
 */
export class VfioCdev extends Closable {
  readonly #node: DeviceNode;
  #bound = false;

  static {
    defineInspect(this, 'VfioCdev', (cdev) => {
      const { device, path } = cdev.#node.location;
      const state = cdev.#bound ? 'bound' : 'open';
      return { address: device.address, path, state: cdev.#node.fd.closed ? 'closed' : state };
    });
  }

  private constructor(node: DeviceNode) {
    super();
    this.#node = node;
  }

  /** @internal */
  static adopt(node: DeviceNode): VfioCdev {
    return new VfioCdev(node);
  }

  /**
   * Takes a device's node that another program opened and passed on, unbound: checks that it is
   * one.
   *
   * @param fd - is duplicated: a FileDescriptor is closed then, a number stays the caller's to
   *   close
   * @throws TypeError, RangeError for arguments that cannot be right
   * @throws VfioError `ERR_VFIO_NOT_VFIO`, `ERR_VFIO_NODE_MISMATCH` (another device than `device`),
   *   `ERR_VFIO_ALREADY_BOUND`; `EBADF`, `EMFILE`; `ERR_VFIO_CLOSED` for a FileDescriptor that is
   *   closed
   */
  static fromFd(fd: number | FileDescriptor, options: FromFdOptions = {}): VfioCdev {
    return new VfioCdev(cdevFromFd(fd, options, callerPlace()));
  }

  /** Whether it is one, and not only called so. @internal */
  static isCdev(value: unknown): value is VfioCdev {
    return typeof value === 'object' && value !== null && #node in value;
  }

  /** The device in sysfs. */
  get device(): SysfsDevice {
    return this.#node.location.device;
  }

  /** The kernel's name for the cdev, such as `vfio0`. */
  get name(): string {
    return this.#node.location.name;
  }

  /** The node that was opened. */
  get path(): string {
    return this.#node.location.path;
  }

  /** The node's device numbers, as sysfs and fstat say them. */
  get major(): number {
    return this.#node.location.major;
  }

  /** See {@link major}. */
  get minor(): number {
    return this.#node.location.minor;
  }

  /**
   * The descriptor's number, to hand to another program. The VfioCdev stays its owner.
   *
   * @throws VfioError `ERR_VFIO_CLOSED`, `ERR_VFIO_ALREADY_BOUND`
   */
  get fd(): number {
    return this.#unbound().number;
  }

  /**
   * Another descriptor of the node, to hand to another program: binding one of them binds both.
   *
   * @throws VfioError `ERR_VFIO_CLOSED`, `ERR_VFIO_ALREADY_BOUND`; `EMFILE`
   */
  dup(): FileDescriptor {
    const what = `a duplicate of the cdev of ${this.device.address}`;
    return FileDescriptor.duplicate(this.fd, what, this.path).openedAt(callerPlace());
  }

  /**
   * Binds the device to an iommufd (VFIO_DEVICE_BIND_IOMMUFD) and reads what the kernel says of it.
   * This opens the device in the kernel's sense: it leaves D3, is reset where it can be (100 ms and
   * more), and bus mastering is off. The descriptor belongs to the VfioDevice from then on; where
   * binding fails it stays here and open.
   *
   * @param iommufd - where to bind; without it the device opens one of its own, and closes it
   * @throws TypeError for arguments that cannot be right
   * @throws VfioError `EINVAL` (another descriptor of the device is bound already), `EBUSY` (its
   *   legacy group is open), `EPERM`, `ENODEV`; `ERR_VFIO_CLOSED`, also of the iommufd,
   *   `ERR_VFIO_ALREADY_BOUND`, `ERR_VFIO_BAD_ANSWER`; without `iommufd` what {@link Iommufd.open}
   *   throws; of `kvm` what {@link KvmVfio.add} throws
   */
  bind(iommufd?: Iommufd, options: BindOptions = {}): Promise<VfioDevice> {
    return run(this.#toldBind(iommufd, options));
  }

  /** The blocking form of {@link bind}. */
  bindSync(iommufd?: Iommufd, options: BindOptions = {}): VfioDevice {
    return runSync(this.#toldBind(iommufd, options));
  }

  #toldBind(iommufd: Iommufd | undefined, options: BindOptions): Steps<VfioDevice> {
    return told(opens, () => ({ device: this.device.address }), this.#bind(iommufd, options));
  }

  *#bind(iommufd: Iommufd | undefined, options: BindOptions): Steps<VfioDevice> {
    checkBindOptions(iommufd, options);
    this.#unbound();
    const { requestEvents = true, vfToken, kvm } = options;
    const bound = yield* bindNode(this.#node, { iommufd, vfToken, kvm });
    this.#bound = true;
    return yield* VfioDevice.adopt(bound, { requestEvents });
  }

  /** @internal */
  get kvmFile(): OwnedFd {
    return this.#node.fd;
  }

  /**
   * Closes the descriptor, unless a VfioDevice has it now. Closing twice is harmless.
   *
   * @throws VfioError what the kernel answers; the descriptor is closed all the same
   */
  async close(): Promise<void> {
    if (!this.#bound) await this.#node.fd.close();
  }

  /** The blocking form of {@link close}. */
  closeSync(): void {
    if (!this.#bound) this.#node.fd.closeSync();
  }

  #unbound(): OwnedFd {
    if (!this.#bound) return this.#node.fd;
    const { address } = this.device;
    const error = new VfioError({
      code: 'ERR_VFIO_ALREADY_BOUND',
      message: `the cdev of ${address} is bound: its descriptor belongs to the VfioDevice`,
      device: address,
    });
    const facts = { path: this.path };
    throw explained(error, { reason: 'already-bound', certainty: 'certain', facts });
  }
}

function checkBindOptions(iommufd: Iommufd | undefined, options: BindOptions): void {
  requireObject('options', options);
  const { requestEvents, vfToken, kvm } = options;
  checkDeviceOptions({ iommufd, requestEvents, vfToken, kvm });
}

/**
 * Opens a device's node without binding it: finds the cdev in sysfs, opens the node, and checks by
 * fstat that it is the device. A node that is missing, may not be opened yet or is another device's
 * is waited for: `timeout` milliseconds, 1,000 by default. The last reason is then thrown.
 *
 * @throws TypeError, RangeError for arguments that cannot be right
 * @throws VfioError `ERR_VFIO_NO_DEVICE`, `ERR_VFIO_NOT_BOUND_TO_VFIO`, `ERR_VFIO_NO_CDEV`,
 *   `ERR_VFIO_NODE_MISMATCH`; of open `ENOENT`, `EACCES`, `ENXIO` (a stale node) and others of the
 *   kernel
 * @throws the signal's reason
 */
export async function openCdev(spec: DeviceSpec, options: OpenOptions = {}): Promise<VfioCdev> {
  const place = callerPlace();
  requireObject('options', options);
  return await run(openUnbound(spec, options, { place, signal: options.signal }));
}

/** The blocking form of {@link openCdev}; without a `timeout` it does not wait. */
export function openCdevSync(spec: DeviceSpec, options: OpenSyncOptions = {}): VfioCdev {
  const place = callerPlace();
  requireObject('options', options);
  return runSync(openUnbound(spec, options, { place }));
}

function* openUnbound(
  spec: DeviceSpec,
  options: OpenSyncOptions,
  { place, signal }: Caller,
): Steps<VfioCdev> {
  const node = yield* openNodeOf(cdevs, spec, options, signal);
  node.fd.openedAt(place);
  return VfioCdev.adopt(node);
}
