import type { Hwpt } from '../iommu/hwpt.ts';
import type { Ioas } from '../iommu/ioas.ts';
import type { Iommufd } from '../iommu/iommufd.ts';
import type { DeviceSpec } from '../locate/address.ts';
import type { SysfsDevice } from '../locate/find_cdev.ts';
import { tokenOf, type SharedToken } from '../shared_token.ts';
import { closeAndThrow, closeSyncAndThrow } from '../undo.ts';
import { Attachment } from './attachment.ts';
import { bindNode, bindNodeSync, ioctlOf, type BoundCdev } from './bind.ts';
import type { DeviceInfo } from './decode.ts';
import { decodeInfo, readDeviceInfo, type RawDeviceInfo } from './info.ts';
import { openDeviceNode, openDeviceNodeSync } from './late_node.ts';
import type { OpenOptions, OpenSyncOptions } from './open_options.ts';

interface IommufdOption {
  /** Where to bind the device. Without it the device opens an iommufd of its own, and closes it. */
  iommufd?: Iommufd | undefined;
}

export interface OpenDeviceOptions extends OpenOptions, IommufdOption {}

export interface OpenDeviceSyncOptions extends OpenSyncOptions, IommufdOption {}

/** A VFIO device, bound to an iommufd: open in the kernel's sense, and this program's alone. */
export class VfioDevice {
  readonly #bound: BoundCdev;
  readonly #answers: RawDeviceInfo;
  readonly #attachment: Attachment;
  #info: DeviceInfo | undefined;

  private constructor(bound: BoundCdev) {
    this.#bound = bound;
    this.#attachment = new Attachment(bound);
    this.#answers = readDeviceInfo(bound.fd.native, ioctlOf(bound.location));
  }

  /**
   * Opens a device: finds its cdev in sysfs, opens the node, checks by fstat that it is the device,
   * binds it to an iommufd and reads what the kernel says of it. Binding resets the device where it
   * can be reset (100 ms and more; the event loop does not wait), and leaves bus mastering off.
   *
   * A node that is missing, may not be opened yet or is another device's is waited for: `timeout`
   * milliseconds, 1,000 by default. The last reason is then thrown. An abort in the middle of
   * binding, which cannot be cut short, rejects when the device is closed again.
   *
   * @throws TypeError, RangeError for arguments that cannot be right
   * @throws VfioError `ERR_VFIO_NO_DEVICE`, `ERR_VFIO_NOT_BOUND_TO_VFIO`, `ERR_VFIO_NO_CDEV`,
   *   `ERR_VFIO_NODE_MISMATCH`; of open `ENOENT`, `EACCES`, `ENXIO` (a stale node); of bind `EINVAL`
   *   (held by another cdev descriptor), `EBUSY` (held through its group), `EPERM`, `ENODEV`
   * @throws the signal's reason
   */
  static async open(spec: DeviceSpec, options: OpenDeviceOptions = {}): Promise<VfioDevice> {
    const { iommufd, signal } = options;
    const node = await openDeviceNode(spec, options);
    try {
      const bound = await bindNode(node, iommufd);
      if (signal?.aborted) return await closeAndThrow(signal.reason, () => bound.close());
      return await VfioDevice.adopt(bound);
    } catch (error) {
      return await closeAndThrow(error, () => node.fd.close());
    }
  }

  /** As {@link open}, blocking; without a `timeout` it does not wait for the node. */
  static openSync(spec: DeviceSpec, options: OpenDeviceSyncOptions = {}): VfioDevice {
    const node = openDeviceNodeSync(spec, options);
    try {
      return VfioDevice.adoptSync(bindNodeSync(node, options.iommufd));
    } catch (error) {
      return closeSyncAndThrow(error, () => {
        node.fd.closeSync();
      });
    }
  }

  /** Takes over a bound cdev; closes it where its info cannot be read. @internal */
  static async adopt(bound: BoundCdev): Promise<VfioDevice> {
    try {
      return new VfioDevice(bound);
    } catch (error) {
      return await closeAndThrow(error, () => bound.close());
    }
  }

  /** As {@link adopt}, blocking. @internal */
  static adoptSync(bound: BoundCdev): VfioDevice {
    try {
      return new VfioDevice(bound);
    } catch (error) {
      return closeSyncAndThrow(error, () => {
        bound.closeSync();
      });
    }
  }

  /** The device in sysfs. */
  get device(): SysfsDevice {
    return this.#bound.location.device;
  }

  /** The kernel's name for the cdev, such as `vfio0`. */
  get name(): string {
    return this.#bound.location.name;
  }

  /** The node that was opened. */
  get path(): string {
    return this.#bound.location.path;
  }

  get major(): number {
    return this.#bound.location.major;
  }

  get minor(): number {
    return this.#bound.location.minor;
  }

  /**
   * What the kernel said when the device was opened.
   *
   * @throws VfioError `ERR_VFIO_BAD_ANSWER` where that contradicts the kernel's own interface
   */
  get info(): DeviceInfo {
    this.#info ??= decodeInfo(this.#answers);
    return this.#info;
  }

  /** The device's id in the iommufd. */
  get devId(): number {
    return this.#bound.devId;
  }

  /** The iommufd that the device is bound to. */
  get iommufd(): Iommufd {
    return this.#bound.iommufd;
  }

  /**
   * The descriptor's number. The VfioDevice stays its owner.
   *
   * @throws VfioError `ERR_VFIO_CLOSED`
   */
  get fd(): number {
    return this.#bound.fd.number;
  }

  /**
   * A token by which another thread of this process becomes one more owner: {@link fromShared}. The
   * device is closed when the last closes it; attaching it in one thread attaches it for all.
   *
   * @throws VfioError `ERR_VFIO_CLOSED`
   */
  share(): SharedToken<'device'> {
    const { fd, devId, location, roots, iommufd } = this.#bound;
    const content = { devId, location, ...roots, iommufd: iommufd.share() };
    return tokenOf('device', { fd: fd.offer(), ...content });
  }

  /**
   * Attaches the device to an address space, or to a page table of one, in place of the one it was
   * attached to (VFIO_DEVICE_ATTACH_IOMMUFD_PT). Its DMA reaches what is mapped there.
   *
   * @returns the id of the page table that the kernel put the device on; for an mdev the id of the
   *   address space
   * @throws VfioError `ENOENT` (an address space of another iommufd), `EINVAL` (another device of its
   *   IOMMU group is attached elsewhere), `EADDRINUSE`, `EFAULT` or `ENOMEM` (of maps made before);
   *   `ERR_VFIO_CLOSED`
   */
  async attach(ioas: Ioas | Hwpt): Promise<number> {
    return this.#attachment.attach(ioas);
  }

  /** As {@link attach}, blocking. */
  attachSync(ioas: Ioas | Hwpt): number {
    return this.#attachment.attachSync(ioas);
  }

  /**
   * Detaches the device from its address space: its DMA reaches nothing
   * (VFIO_DEVICE_DETACH_IOMMUFD_PT). Harmless where it is attached to none.
   *
   * @throws VfioError `ERR_VFIO_CLOSED`
   */
  async detach(): Promise<void> {
    await this.#attachment.detach();
  }

  /** As {@link detach}, blocking. */
  detachSync(): void {
    this.#attachment.detachSync();
  }

  /**
   * Closes the device: waits for calls in flight, detaches and unbinds it. The kernel resets it once
   * more where it can (100 ms and more). Closing twice is harmless.
   */
  close(): Promise<void> {
    this.#attachment.forget();
    return this.#bound.close();
  }

  /** As {@link close}, blocking. */
  closeSync(): void {
    this.#attachment.forget();
    this.#bound.closeSync();
  }

  [Symbol.dispose](): void {
    this.closeSync();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
