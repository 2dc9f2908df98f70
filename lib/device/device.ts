import { tracingChannel } from 'node:diagnostics_channel';
import { EventEmitter } from 'node:events';
import type { Container } from '../backend/container.ts';
import { boundFromFd, type DeviceFromFdOptions } from '../backend/from_fd.ts';
import type { Caller } from '../backend/kinds.ts';
import type { OpenedDevice } from '../backend/opened.ts';
import type { PasidOptions } from '../backend/pasid.ts';
import { callerPlace, type CallerPlace } from '../core/caller.ts';
import { orUndefined, VfioError } from '../core/errors.ts';
import { FileDescriptor } from '../core/file_descriptor.ts';
import { defineInspect } from '../core/inspect_handle.ts';
import { type OperationChannel, type Outcome, told } from '../core/operations.ts';
import type { Backend, DeviceSpec, SysfsDevice } from '../core/location.ts';
import type { OwnedFd } from '../core/owned_fd.ts';
import { throwIfAborted } from '../core/readiness.ts';
import type { SharedToken } from '../core/shared_token.ts';
import {
  closing,
  closingAll,
  doAll,
  doing,
  inOrder,
  run,
  runSync,
  type Steps,
  undoAndThrow,
} from '../core/steps.ts';
import { makeUncloneable } from '../core/uncloneable.ts';
import { tellError } from '../core/warnings.ts';
import { Features } from '../feature/features.ts';
import { type IoeventfdOptions, setIoeventfd } from '../feature/ioeventfd.ts';
import type { DeviceInfo } from '../info/decode.ts';
import { decodeInfo, decodeIrqs } from '../info/read.ts';
import type { Interrupt } from '../interrupt/interrupt.ts';
import { Interrupts } from '../interrupt/interrupts.ts';
import type { AddressSpace } from '../iommu/address_space.ts';
import type { Hwpt } from '../iommu/hwpt.ts';
import type { NestedHwpt } from '../iommu/nested_hwpt.ts';
import type { Iommufd } from '../iommu/iommufd.ts';
import { findRegion, type RegionSpec } from '../region/find.ts';
import { OpenMappings, PeerMaps, type RegionOwner } from '../region/owner.ts';
import { Region } from '../region/region.ts';
import { resets } from '../reset/channels.ts';
import { DeviceState, register, unregister } from '../reset/device_state.ts';
import { hotResetDevice, type HotResetPlan, planHotReset } from '../reset/hot_reset.ts';
import { resetDevice } from '../reset/reset.ts';
import { notice, type Notice, Notices } from '../region/notices.ts';
import { armNotices, type DeviceEvents, type Notified } from './events.ts';
import { openDevice } from './open.ts';
import {
  type AdoptOptions,
  checkDeviceOptions,
  type OpenDeviceOptions,
  type OpenDeviceSyncOptions,
} from './options.ts';
import { PciFunction } from './pci_function.ts';

/** An opening of a device, as the tracing channel `vfio:open` tells it. */
export interface OpenMessage extends Outcome<VfioDevice> {
  /** What names the device; its address where its cdev was opened before, and is bound now. */
  device: DeviceSpec;
}

/** A closing of a device, as the tracing channel `vfio:close` tells it. */
export interface CloseMessage extends Outcome {
  /** The device that is closed. */
  device: VfioDevice;
}

export const opens: OperationChannel<OpenMessage> = tracingChannel('vfio:open');

export const closes: OperationChannel<CloseMessage> = tracingChannel('vfio:close');

/**
 * A VFIO device, bound to an iommufd or in a container: open in the kernel's sense, and this
 * program's alone.
 *
 * Unless `requestEvents` is false, it emits `request` when somebody wants the device back: its
 * driver is being unbound, or it is being unplugged, which waits until it is closed. Without a
 * listener the device closes itself. It emits `error` when it reported an uncorrectable error, also
 * one from which the kernel recovered it, and where closing itself failed; without a listener that
 * is a process warning (`VFIO_DEVICE_ERROR`), and ends no program. It emits `close` when it is
 * closed. None of this keeps the event loop alive.
 */
export class VfioDevice extends EventEmitter<DeviceEvents> {
  readonly #bound: OpenedDevice;
  readonly #interrupts: Interrupts;
  readonly #state: DeviceState;
  readonly #notices: Notices;
  #pci: PciFunction | undefined;
  #features: Features | undefined;
  #info: DeviceInfo | undefined;
  #ended = false;
  readonly #mappings = new OpenMappings();
  readonly #peers = new PeerMaps();

  static {
    defineInspect(this, 'VfioDevice', (opened) => {
      const { location, fd } = opened.#bound;
      const { device, path } = location;
      return { address: device.address, path, state: fd.closed ? 'closed' : 'bound' };
    });
  }

  private constructor(bound: OpenedDevice, interrupts: Interrupts) {
    super();
    makeUncloneable(this);
    this.#bound = bound;
    this.#interrupts = interrupts;
    this.#notices = new Notices('noticesOfDevice', bound.location.device.address);
    this.#state = new DeviceState(bound, interrupts, this.#peers, () => this.#config());
    this.#mappings.add(this.#peers);
    register(this.#state);
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
   *   `ERR_VFIO_NODE_MISMATCH`; of open `ENOENT`, `EACCES`, `ENXIO` (a stale node), `EMFILE`; of
   *   bind `EINVAL` (held by another cdev descriptor), `EBUSY` (held through its group), `EPERM`,
   *   `ENODEV`; `ERR_VFIO_BAD_ANSWER`
   * @throws VfioError by the device's group: `ERR_VFIO_NO_GROUP`; `ERR_VFIO_GROUP_NOT_VIABLE` where
   *   a host driver has a device of it; `EBUSY` (its node is open elsewhere); `EPERM`;
   *   `ERR_VFIO_BUSY` (of `openSync`, while another device of the group is opened or closed)
   * @throws VfioError of options: `ERR_VFIO_WRONG_BACKEND` for a device without an IOMMU where
   *   `backend` is not `noiommu`, and the other way round; `ERR_VFIO_CLOSED` of a closed iommufd or
   *   container; of `busMaster` what {@link PciFunction.setBusMaster} throws; of `kvm` what
   *   {@link KvmVfio.add} throws
   * @throws what `beforeBind` throws
   * @throws the signal's reason
   */
  static open(spec: DeviceSpec, options: OpenDeviceOptions = {}): Promise<VfioDevice> {
    return VfioDevice.openAt(callerPlace(), spec, options);
  }

  /** Opens it for who called at `place`. @internal */
  static async openAt(
    place: CallerPlace,
    spec: DeviceSpec,
    options: OpenDeviceOptions,
  ): Promise<VfioDevice> {
    checkDeviceOptions(options);
    const { signal } = options;
    return await run(VfioDevice.#toldOpen(spec, options, { place, signal }));
  }

  /** The blocking form of {@link open}; without a `timeout` it does not wait for the node. */
  static openSync(spec: DeviceSpec, options: OpenDeviceSyncOptions = {}): VfioDevice {
    const place = callerPlace();
    checkDeviceOptions(options);
    return runSync(VfioDevice.#toldOpen(spec, options, { place }));
  }

  static #toldOpen(
    spec: DeviceSpec,
    options: OpenDeviceOptions | OpenDeviceSyncOptions,
    caller: Caller,
  ): Steps<VfioDevice> {
    return told(opens, () => ({ device: spec }), VfioDevice.#open(spec, options, caller));
  }

  static *#open(
    spec: DeviceSpec,
    options: OpenDeviceOptions | OpenDeviceSyncOptions,
    caller: Caller,
  ): Steps<VfioDevice> {
    const { requestEvents = true, busMaster } = options;
    const opened = yield* openDevice(spec, options, caller);
    const { signal } = caller;
    return yield* VfioDevice.adopt(opened, { requestEvents, busMaster, signal });
  }

  /** Whether it is one, and not only called so. @internal */
  static isDevice(value: unknown): value is VfioDevice {
    return typeof value === 'object' && value !== null && #bound in value;
  }

  /**
   * Takes over an open device; closes it where it is not what was asked for, or wanted no more.
   * @internal
   */
  static *adopt(
    opened: OpenedDevice,
    { requestEvents = false, busMaster, signal }: AdoptOptions = {},
  ): Steps<VfioDevice> {
    let device: VfioDevice | undefined;
    try {
      // Weakly, since what listens to an interrupt would keep a device that the program dropped.
      const weak: { device?: WeakRef<VfioDevice> } = {};
      const interrupts = new Interrupts(
        opened,
        () => decodeIrqs(opened.rawInfo),
        () => {
          const own = weak.device?.deref();
          return own === undefined ? undefined : own.#isBusMaster();
        },
      );
      interrupts.join();
      device = new VfioDevice(opened, interrupts);
      weak.device = new WeakRef(device);
      if (requestEvents) armNotices(interrupts, device.#notified);
      throwIfAborted(signal);
      if (busMaster !== undefined) device.pci.setBusMaster(busMaster);
      return device;
    } catch (error) {
      return yield* undoAndThrow(error, closing(device ?? opened));
    }
  }

  /** Takes over what another thread shared; it may disable the interrupts of this one. @internal */
  static adoptShared(bound: OpenedDevice): VfioDevice {
    const device = runSync(VfioDevice.adopt(bound));
    try {
      device.#interrupts.hearOfOthers();
      return device;
    } catch (error) {
      return runSync(undoAndThrow(error, closing(device)));
    }
  }

  /**
   * Takes a device that another program bound and passed on: checks that the descriptor is one, and
   * bound. Does not block, and resets nothing. It tells of requests and errors only with
   * `requestEvents`: who bound it may listen to them.
   *
   * The device stays bound until its last descriptor is closed, here and in the other program.
   *
   * @param fd - is duplicated: a FileDescriptor is closed then, a number stays the caller's to
   *   close
   * @throws TypeError, RangeError for arguments that cannot be right
   * @throws VfioError `ERR_VFIO_NOT_VFIO`, `ERR_VFIO_NODE_MISMATCH` (another device than `device`),
   *   `ERR_VFIO_NOT_BOUND`; `EBADF`, `EMFILE`; `ERR_VFIO_CLOSED` for a FileDescriptor that is closed
   */
  static fromFd(fd: number | FileDescriptor, options: DeviceFromFdOptions): VfioDevice {
    const bound = boundFromFd(fd, options, callerPlace());
    return runSync(VfioDevice.adopt(bound, { requestEvents: options.requestEvents }));
  }

  /** The device in sysfs. */
  get device(): SysfsDevice {
    return this.#bound.location.device;
  }

  /** The kernel's name for the node that was opened: `vfio0`; of a group its number, `12`. */
  get name(): string {
    return this.#bound.location.name;
  }

  /** The node that was opened. */
  get path(): string {
    return this.#bound.location.path;
  }

  /** The node's device numbers, as sysfs and fstat say them. */
  get major(): number {
    return this.#bound.location.major;
  }

  /** See {@link major}. */
  get minor(): number {
    return this.#bound.location.minor;
  }

  /**
   * What the kernel said when the device was opened.
   *
   * @throws VfioError `ERR_VFIO_BAD_ANSWER` where that contradicts the kernel's own interface
   */
  get info(): DeviceInfo {
    this.#info ??= decodeInfo(this.#bound.rawInfo);
    return this.#info;
  }

  /** How the device was opened, and why so. */
  get backend(): Backend {
    return this.#bound.backend;
  }

  /**
   * The device's id in the iommufd.
   *
   * @throws VfioError `ERR_VFIO_WRONG_BACKEND` where it was opened by its group;
   *   `ERR_VFIO_NO_DEV_ID` where another program bound it, and did not tell
   */
  get devId(): number {
    return this.#require('devId');
  }

  /**
   * The iommufd that the device is bound to.
   *
   * @throws VfioError `ERR_VFIO_WRONG_BACKEND` where it is in a container
   */
  get iommufd(): Iommufd {
    return this.#require('iommufd');
  }

  /**
   * The container that the device's group is in.
   *
   * @throws VfioError `ERR_VFIO_WRONG_BACKEND` where it is bound to an iommufd
   */
  get container(): Container {
    return this.#require('container');
  }

  /**
   * An address space that the device can be attached to, however it was opened: a new one of its
   * iommufd, or that of its container, to which it is attached already.
   *
   * @throws VfioError `ERR_VFIO_CLOSED`; `ERR_VFIO_WRONG_BACKEND` where the kernel maps nothing: in
   *   a container without an IOMMU
   */
  createIoas(): AddressSpace {
    return this.#bound.createIoas();
  }

  /**
   * The descriptor's number, to hand to another program. The VfioDevice stays its owner, but tells
   * nothing any more of requests and errors: who has the descriptor may want to hear of them
   * itself.
   *
   * @throws VfioError `ERR_VFIO_CLOSED`; `ERR_VFIO_BUSY` while an interrupt is being enabled or
   *   disabled, or the device reset
   */
  get fd(): number {
    const { number } = this.#bound.fd;
    this.#interrupts.disarm();
    return number;
  }

  /**
   * Another descriptor of the device, to hand to another program: the device stays bound until both
   * are closed. As with {@link fd}, it tells nothing any more of requests and errors.
   *
   * @throws VfioError `ERR_VFIO_CLOSED`, `ERR_VFIO_BUSY`; `EMFILE`
   */
  dup(): FileDescriptor {
    const what = `a duplicate of the cdev of ${this.device.address}`;
    return FileDescriptor.duplicate(this.fd, what, this.path).openedAt(callerPlace());
  }

  /** @internal */
  get kvmFile(): OwnedFd {
    return this.#bound.kvmFile;
  }

  /** Whether the device tells of requests and errors. */
  get requestEvents(): boolean {
    return this.#interrupts.armed;
  }

  /**
   * Whether somebody wants the device back, as the event `request` says: for a loop that polls the
   * device and does not come to the event loop. Costs about as much as a register; the kernel is
   * asked some hundred times a second, however often this is. Once true it stays so, also when the
   * device is closed. Who has the device in another thread finds it as well ({@link share}). A
   * device that has no such interrupt is never asked for.
   *
   * @throws VfioError `ERR_VFIO_IRQ_DISABLED` where nobody in this process hears of it: see
   *   {@link requestEvents}; `ERR_VFIO_CLOSED`
   */
  get removalRequested(): boolean {
    return this.#hasTold(notice.request);
  }

  /**
   * Whether the device reported an uncorrectable error since it was opened, as the event `error`
   * says; like {@link removalRequested}.
   *
   * @throws as {@link removalRequested}
   */
  get errorReported(): boolean {
    return this.#hasTold(notice.error);
  }

  /**
   * A region of the device: a BAR, the configuration space, a region of the device's own.
   *
   * @throws TypeError, RangeError for what cannot name a region
   * @throws VfioError `ERR_VFIO_NO_REGION`; `ERR_VFIO_BAD_ANSWER` as {@link info}
   */
  region(spec: RegionSpec): Region {
    return Region.of(this.#owner(), findRegion(this.info, spec, this.device));
  }

  /**
   * The device's PCI side: configuration space, bus mastering, power.
   *
   * @throws VfioError `ERR_VFIO_NO_REGION` where it is no PCI device; `ERR_VFIO_BAD_ANSWER` as
   *   {@link info}
   */
  get pci(): PciFunction {
    this.#pci ??= PciFunction.of(this.#owner(), this.info);
    return this.#pci;
  }

  /**
   * A token by which another thread of this process becomes one more owner: {@link fromShared}. The
   * device is closed when the last closes it; attaching it in one thread attaches it for all. An
   * interrupt is enabled by one of them at a time, disabled by any, and off when who enabled it
   * closes.
   *
   * @throws VfioError `ERR_VFIO_CLOSED`; `EMFILE`
   */
  share(): SharedToken<'device' | 'group-device'> {
    const token = this.#bound.share();
    this.#interrupts.hearOfOthers();
    return token;
  }

  /**
   * Attaches the device to an address space, or to a page table, in place of the one it was
   * attached to (VFIO_DEVICE_ATTACH_IOMMUFD_PT). Its DMA reaches what is mapped there. A device
   * that was opened by its group is attached to the address space of its container, and to no
   * other.
   *
   * @param options - with `pasid`, the requests that have this process address space id alone
   *   (VFIO_DEVICE_ATTACH_PASID, Linux 6.15): to a page table that was made with `pasid`, while the
   *   device as a whole is attached to such a one or to none
   * @returns the id of the page table that the kernel put the device on; for an mdev the id of the
   *   address space
   * @throws TypeError, RangeError
   * @throws VfioError `ENOENT` (an address space of another iommufd), `EINVAL` (another device of
   *   its IOMMU group is attached elsewhere; a PASID on an older kernel), `ENOTSUP` (the driver or
   *   the device has no PASIDs), `EADDRINUSE`, `EFAULT` or `ENOMEM` (of maps made before);
   *   `ERR_VFIO_CLOSED`, `ERR_VFIO_WRONG_BACKEND`
   */
  async attach(
    ioas: AddressSpace | Hwpt | NestedHwpt,
    options: PasidOptions = {},
  ): Promise<number> {
    return await this.#bound.attachment.attach(ioas, options);
  }

  /** The blocking form of {@link attach}. */
  attachSync(ioas: AddressSpace | Hwpt | NestedHwpt, options: PasidOptions = {}): number {
    return this.#bound.attachment.attachSync(ioas, options);
  }

  /**
   * Detaches the device from its address space, or, with `pasid`, what has this process address
   * space id: that DMA reaches nothing (VFIO_DEVICE_DETACH_IOMMUFD_PT). Harmless where it is
   * attached to none.
   *
   * @throws TypeError, RangeError
   * @throws VfioError `ERR_VFIO_CLOSED`; `ERR_VFIO_WRONG_BACKEND` where it was opened by its group
   */
  async detach(options: PasidOptions = {}): Promise<void> {
    await this.#bound.attachment.detach(options);
  }

  /** The blocking form of {@link detach}. */
  detachSync(options: PasidOptions = {}): void {
    this.#bound.attachment.detachSync(options);
  }

  /**
   * One of the device's interrupts, by its name or its index in `info.irqs`; always the same
   * object.
   *
   * @throws TypeError, RangeError for what cannot name an interrupt
   * @throws VfioError `ERR_VFIO_NO_IRQ`
   */
  interrupt(which: string | number): Interrupt {
    return this.#interrupts.get(which);
  }

  /**
   * Resets the device (VFIO_DEVICE_RESET), then establishes again what it had: the bits of its
   * Command register, the interrupts that are enabled, and where other devices reach its memory;
   * what happens in between is lost. Takes 100 ms and more. A lock that somebody holds for a moment
   * is waited for, 0.2 s at most.
   *
   * @throws VfioError `EINVAL`: it has no reset of its own (`info.flags` lacks `reset`; reason
   *   `no-reset`); `EAGAIN`, `EBUSY`: the lock stays held, or the device is being removed; what establishing again throws;
   *   `ERR_VFIO_BUSY` (of `resetSync`, while an interrupt is being enabled or disabled);
   *   `ERR_VFIO_CLOSED`
   * @throws AggregateError where the reset failed, and so did mapping the device's memory again for
   *   other devices
   */
  async reset(): Promise<void> {
    await run(this.#reset());
  }

  /** The blocking form of {@link reset}. */
  resetSync(): void {
    runSync(this.#reset());
  }

  #reset(): Steps<void> {
    const { address } = this.device;
    return told(resets, () => ({ device: address, hot: false }), resetDevice(this.#state));
  }

  /**
   * What a hot reset, of the bus or slot, would hit, and why it is not possible where it is not.
   *
   * @throws VfioError `ENOTTY` where the device is no PCI device; `EAGAIN`, `EBUSY`: a lock stays
   *   held; `ERR_VFIO_CLOSED`
   */
  async planHotReset(): Promise<HotResetPlan> {
    return await run(planHotReset(this.#state));
  }

  /** The blocking form of {@link planHotReset}. */
  planHotResetSync(): HotResetPlan {
    return runSync(planHotReset(this.#state));
  }

  /**
   * Resets the device with all that shares its bus or slot (VFIO_DEVICE_PCI_HOT_RESET), then
   * establishes again what each open device of this iommufd had, as {@link reset} does. Answers
   * what was hit.
   *
   * @throws VfioError `ERR_VFIO_HOT_RESET`: it would hit devices that are not this program's;
   *   `EBUSY`, `EAGAIN`: a lock stays held; `ENOTTY`; what establishing again throws;
   *   `ERR_VFIO_BUSY` (of `hotResetSync`, while an interrupt of one of them is being enabled or
   *   disabled); `ERR_VFIO_CLOSED`
   * @throws AggregateError where several of the devices were reset and not restored
   */
  async hotReset(): Promise<HotResetPlan> {
    return await run(this.#hotReset());
  }

  /** The blocking form of {@link hotReset}. */
  hotResetSync(): HotResetPlan {
    return runSync(this.#hotReset());
  }

  #hotReset(): Steps<HotResetPlan> {
    const { address } = this.device;
    return told(resets, () => ({ device: address, hot: true }), hotResetDevice(this.#state));
  }

  /**
   * The device's features: VF token, migration, dirty pages, low power, displays, and any other.
   */
  get feature(): Features {
    this.#features ??= Features.of(this.#bound, this.#peers);
    return this.#features;
  }

  /**
   * Has the kernel write a value to a region whenever an eventfd is signalled, or ends that
   * (VFIO_DEVICE_IOEVENTFD).
   *
   * @throws TypeError, RangeError; VfioError `ERR_VFIO_NO_REGION`; `EEXIST`, `ENODEV`, `EINVAL`,
   *   `ENOTTY` as the driver has it; `ERR_VFIO_CLOSED`
   */
  async ioeventfd(options: IoeventfdOptions): Promise<void> {
    await run(setIoeventfd(this.#bound, this.info, options));
  }

  /** The blocking form of {@link ioeventfd}. */
  ioeventfdSync(options: IoeventfdOptions): void {
    runSync(setIoeventfd(this.#bound, this.info, options));
  }

  /**
   * Closes the device and its mappings: waits for calls in flight, detaches and unbinds it. The
   * kernel resets it once more where it can (100 ms and more). Closing twice is harmless.
   *
   * @throws VfioError what the kernel answers; AggregateError where it does so more than once. The
   *   descriptors are closed all the same; a mapping that could not be unmapped is tried again by
   *   the next call
   */
  close(): Promise<void> {
    return run(this.#toldClose());
  }

  /** The blocking form of {@link close}. */
  closeSync(): void {
    runSync(this.#toldClose());
  }

  /** At the end of a block with `using`: {@link closeSync}. */
  [Symbol.dispose](): void {
    this.closeSync();
  }

  /** At the end of a block with `await using`: {@link close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #toldClose(): Steps<void> {
    const task = this.#close();
    return this.#ended ? task : told(closes, () => ({ device: this }), task);
  }

  *#close(): Steps<void> {
    this.#bound.attachment.forget();
    const end = doing(() => {
      this.#end();
    });
    yield* inOrder(closingAll([this.#mappings, this.#bound]), end);
  }

  /** What only some backends have. */
  #require<Name extends 'devId' | 'iommufd' | 'container'>(
    name: Name,
  ): NonNullable<OpenedDevice[Name]> {
    const { backend, location } = this.#bound;
    const found = this.#bound[name];
    if (found !== undefined) return found;
    const { address } = location.device;
    throw new VfioError({
      code: 'ERR_VFIO_WRONG_BACKEND',
      message: `${address} was opened by the backend '${backend.kind}', which has no ${name}`,
      device: address,
    });
  }

  #hasTold(kind: Notice): boolean {
    return this.#notices.isKnown(kind) || this.#notices.ask(kind, this.#bound.fd.native);
  }

  /** Undefined where it cannot be seen; a device that sleeps is not woken for it. */
  #isBusMaster(): boolean | undefined {
    if (this.#peers.blocked) return undefined;
    return orUndefined(() => this.pci.command().busMaster);
  }

  #config(): Region | undefined {
    const owner = this.#owner();
    return owner.config && Region.of(owner, owner.config);
  }

  #owner(): RegionOwner {
    const { fd, location } = this.#bound;
    const config = this.info.regions.find(({ name }) => name === 'config');
    return { fd, location, config, mappings: this.#mappings, peers: this.#peers };
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    unregister(this.#state);
    process.nextTick(() => this.emit('close'));
    const endInterrupts = (): void => {
      this.#interrupts.end();
    };
    doAll([endInterrupts, () => this.#features?.lowPower.end()]);
  }

  /** A function that nobody else can call. */
  readonly #notified: Notified = {
    requested: (count) => {
      this.#notices.tell(notice.request);
      this.#interrupts.tell(notice.request);
      if (this.listenerCount('request') > 0) this.emit('request', count);
      else this.#giveBack();
    },
    failed: (error) => {
      this.#notices.tell(notice.error);
      this.#interrupts.tell(notice.error);
      this.#tell(error);
    },
  };

  /** It was asked for, and nobody listens. */
  #giveBack(): void {
    const { bus, address } = this.device;
    const facts = { bus, address };
    this.#bound.closesBecause({ reason: 'asked-back', certainty: 'certain', facts });
    this.close().catch((error: unknown) => {
      this.#tell(error as Error);
    });
  }

  #tell(error: Error): void {
    tellError(this, error, 'VFIO_DEVICE_ERROR');
  }
}
