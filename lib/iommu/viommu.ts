import { checkId, checkInteger, invalidType, requireObject } from '../core/arguments.ts';
import { binding, type NativeMapping } from '../core/binding.ts';
import { type CallName, check, checkList } from '../core/call.ts';
import { defineInspect } from '../core/inspect_handle.ts';
import { call, closing, run, runSync, type Steps } from '../core/steps.ts';
import { littleEndian } from '../core/structs.ts';
import { MappedRegion } from '../region/mapped_region.ts';
import { OpenMappings, PeerMaps } from '../region/owner.ts';
import { type BoundDevice, devIdOf } from './bound_device.ts';
import type { HwptData } from './hwpt_data.ts';
import { HwQueue, type HwQueueOptions } from './hw_queue.ts';
import { type Invalidation, invalidate } from './invalidation.ts';
import { IommufdObject } from './iommufd_object.ts';
import { NestedHwpt, type NestedHwptOptions, type NestingParent } from './nested_hwpt.ts';
import { Vdevice } from './vdevice.ts';
import { checkData, longsOf, type OtherData } from './vendor_data.ts';
import { VeventQueue, type VeventQueueOptions } from './vevent_queue.ts';

/** Which vIOMMU to make: its kind, or the kernel's number of it with its data, if it has any. */
export type ViommuOptions =
  { type: 'arm-smmuv3' | 'tegra241-cmdqv' } | { type: number; data?: Uint8Array | undefined };

/** A part of an iommufd that can be mapped. */
export interface ViommuMap {
  /** Where it is, as the kernel said it. */
  offset: bigint;
  /** Bytes, exactly as the kernel said it. */
  length: number;
}

/** enum iommu_viommu_type, and the bytes of their data. */
const types = {
  'arm-smmuv3': { type: 1, dataLength: 0 },
  'tegra241-cmdqv': { type: 2, dataLength: 16 },
} as const;

const noTwo32 = 2n ** 32n;

/**
 * A part of the IOMMU for one guest (IOMMU_VIOMMU_ALLOC): the guest's devices by the ids that it
 * knows them by, its page tables, events and queues.
 */
export class Viommu extends IommufdObject {
  readonly #parent: NestingParent;
  readonly #data: Uint8Array;
  readonly #isTegra: boolean;
  readonly #mappings = new OpenMappings();

  static {
    defineInspect(this, 'Viommu', (viommu) => ({ of: viommu.#parent.id, ...viommu.shown }));
  }

  private constructor(parent: NestingParent, id: number, data: Uint8Array, isTegra: boolean) {
    super(parent, 'vIOMMU', id);
    this.#parent = parent;
    this.#data = data;
    this.#isTegra = isTegra;
  }

  /** @internal */
  static *create(
    parent: NestingParent,
    device: BoundDevice,
    options: ViommuOptions,
  ): Steps<Viommu> {
    const { fd, iommufdIdentity, id } = parent;
    const named = { syscall: 'ioctl', request: 'IOMMU_VIOMMU_ALLOC', path: fd.path };
    const devId = devIdOf(device, iommufdIdentity, named);
    requireObject('options', options);
    const { type, data } = encode(options);
    const answer = yield* call('viommuAlloc', fd.native, devId, id, type, data);
    const told = checkList(answer, named);
    const own = new DataView(told.buffer, told.byteOffset).getUint32(0, littleEndian);
    return new Viommu(parent, own, told.slice(4), options.type === 'tegra241-cmdqv');
  }

  /** What the kernel answered in the data of its kind; empty where that has none. */
  get data(): Uint8Array {
    return this.#data.slice();
  }

  /**
   * Makes a page table that the guest has in its own memory, as {@link Hwpt.createNested} does, for
   * devices of this vIOMMU (IOMMU_HWPT_ALLOC).
   *
   * @throws TypeError, RangeError
   * @throws VfioError `ENOTSUP`, `EINVAL`; `ERR_VFIO_CLOSED`
   */
  async createNested(
    device: BoundDevice,
    data: HwptData,
    options: NestedHwptOptions = {},
  ): Promise<NestedHwpt> {
    return await run(this.#createNested(device, data, options));
  }

  /** The blocking form of {@link createNested}. */
  createNestedSync(
    device: BoundDevice,
    data: HwptData,
    options: NestedHwptOptions = {},
  ): NestedHwpt {
    return runSync(this.#createNested(device, data, options));
  }

  /**
   * Tells the id that the guest knows a device by (IOMMU_VDEVICE_ALLOC), before the device is
   * attached to a page table of this vIOMMU.
   *
   * @param virtId - the vSID of an SMMUv3, the vRID of VT-d, the vDeviceID of an AMD IOMMU
   * @throws TypeError, RangeError
   * @throws VfioError `EEXIST` (the device has one, or the id is another's), `EINVAL` (another
   *   IOMMU is in front of the device); `ERR_VFIO_CLOSED`
   */
  async createVdevice(device: BoundDevice, virtId: bigint): Promise<Vdevice> {
    return await run(Vdevice.create(this.#own, device, virtId));
  }

  /** The blocking form of {@link createVdevice}. */
  createVdeviceSync(device: BoundDevice, virtId: bigint): Vdevice {
    return runSync(Vdevice.create(this.#own, device, virtId));
  }

  /**
   * Makes a queue for the IOMMU's events that are the guest's (IOMMU_VEVENTQ_ALLOC, Linux 6.15).
   * Does not block.
   *
   * @throws TypeError, RangeError
   * @throws VfioError `EEXIST` (there is one of that type), `ENOTSUP`, `EINVAL`; `ERR_VFIO_CLOSED`
   */
  createVeventQueue(options: VeventQueueOptions): VeventQueue {
    return VeventQueue.create(this.#own, options);
  }

  /**
   * Lets the hardware read a queue of the guest's by itself (IOMMU_HW_QUEUE_ALLOC, Linux 6.17).
   *
   * @throws TypeError, RangeError
   * @throws VfioError `ENOTSUP`, `EEXIST` (the index is taken), `EIO` (the one before it is not
   *   there), `EFAULT` (its memory is not in one piece), `ENOENT` (it is not mapped);
   *   `ERR_VFIO_CLOSED`
   */
  async createHwQueue(options: HwQueueOptions): Promise<HwQueue> {
    return await run(HwQueue.create(this.#own, options));
  }

  /** The blocking form of {@link createHwQueue}. */
  createHwQueueSync(options: HwQueueOptions): HwQueue {
    return runSync(HwQueue.create(this.#own, options));
  }

  /**
   * Has the hardware forget what it keeps for the guest, device caches among it, as
   * {@link NestedHwpt.invalidate} does.
   *
   * @returns how many entries were handled, which is all of them
   * @throws TypeError, RangeError; VfioError with the reason `invalidated-in-part`;
   *   `ERR_VFIO_CLOSED`
   */
  async invalidate(invalidation: Invalidation): Promise<number> {
    return await run(invalidate(this.iommufd, this.id, invalidation));
  }

  /** The blocking form of {@link invalidate}. */
  invalidateSync(invalidation: Invalidation): number {
    return runSync(invalidate(this.iommufd, this.id, invalidation));
  }

  /**
   * Maps the registers of the vIOMMU's queues: of a Tegra241 CMDQV the page 0 of its virtual
   * interface; of another kind the part that its data name. Closing the vIOMMU unmaps it. Does not
   * block.
   *
   * @param part - exactly what the kernel said; of a Tegra241 CMDQV it is known
   * @throws TypeError, RangeError
   * @throws VfioError `ENXIO` (there is no such part); `ERR_VFIO_CLOSED`
   */
  map(part: ViommuMap = this.#vintf()): MappedRegion {
    const { id } = this;
    requireObject('part', part);
    const { offset, length } = part;
    if (typeof offset !== 'bigint') throw invalidType('part.offset', 'a bigint', offset);
    const place = BigInt(checkInteger('part.offset', Number(offset), 0, Number.MAX_SAFE_INTEGER));
    const size = checkInteger('part.length', length, 1, Number.MAX_SAFE_INTEGER);
    const [high, low] = [Number(place / noTwo32), Number(place % noTwo32)];
    const fd = this.iommufd;
    const address = `vIOMMU ${id}`;
    const device = { bus: 'iommufd', address, sysfsPath: '' };
    const location = { device, name: address, major: 0, minor: 0, path: fd.path };
    const named: CallName = { syscall: 'mmap', path: fd.path, device: address };
    const native = check(binding().map(fd.native, high, low, 0, size, 0, 0), named);
    const peers = new PeerMaps();
    const owner = { fd, location, mappings: this.#mappings, peers, config: undefined };
    const readOnly = { start: 0, end: 0 };
    const area = { owner, name: 'vintf', offset: 0, size, readOnly, high, low };
    return MappedRegion.adopt(area, native as NativeMapping);
  }

  /** What is mapped keeps it. @internal */
  protected override *closing(): Steps<void> {
    yield* closing(this.#mappings);
    yield* this.destroying();
  }

  #createNested(
    device: BoundDevice,
    data: HwptData,
    options: NestedHwptOptions,
  ): Steps<NestedHwpt> {
    return NestedHwpt.create(this.#own, device, data, options);
  }

  /** What is made of it. */
  get #own(): NestingParent {
    const { id, users } = this;
    return { ...this.#parent, id, users };
  }

  /** struct iommu_viommu_tegra241_cmdqv */
  #vintf(): ViommuMap {
    if (!this.#isTegra) throw invalidType('part', 'an object, of this kind of vIOMMU', undefined);
    const [offset = 0n, length = 0n] = longsOf(this.#data);
    return { offset, length: Number(length) };
  }
}

function encode(options: ViommuOptions): { type: number; data: Uint8Array } {
  const { type } = options;
  if (typeof type === 'number') {
    const { data } = options as Partial<OtherData>;
    const number = checkId('type', type, 1);
    const given = data === undefined ? new Uint8Array(0) : checkData({ type, data }, 'data');
    return { type: number, data: given };
  }
  if (typeof type === 'string' && Object.hasOwn(types, type)) {
    const { type: number, dataLength } = types[type];
    return { type: number, data: new Uint8Array(dataLength) };
  }
  throw invalidType('type', `one of ${Object.keys(types).join(', ')}, or a number`, type);
}
