import { invalidType, outOfRange, requireBoolean, requireObject } from '../core/arguments.ts';
import { type Answer, binding, type NativeFd } from '../core/binding.ts';
import { type CallName, check, checkList } from '../core/call.ts';
import { Closable } from '../core/closable.ts';
import { closedError } from '../core/errors.ts';
import { defineInspect } from '../core/inspect_handle.ts';
import { checkAlignment, checkEnd, checkIova } from '../core/iova.ts';
import type { OwnedFd } from '../core/owned_fd.ts';
import { call, run, runSync, type Steps } from '../core/steps.ts';
import type { AttachedSpace } from '../diagnose/map_causes.ts';
import { DirtyPages } from '../feature/dirty_pages.ts';
import type { AddressSpace } from './address_space.ts';
import { type BoundDevice, devIdOf } from './bound_device.ts';
import { checkFaultQueue, type FaultQueue } from './fault_queue.ts';
import { encodeHwptData, type HwptData, noHwptData } from './hwpt_data.ts';
import {
  allocateHwpt,
  hwptFlags,
  type LowerSpace,
  NestedHwpt,
  type NestedHwptOptions,
  type NestingParent,
} from './nested_hwpt.ts';
import { Users } from './users.ts';
import { Viommu, type ViommuOptions } from './viommu.ts';

/** What a page table is to be able to do. */
export interface HwptOptions {
  /** Whether to be able to tell which pages devices wrote (IOMMU_HWPT_ALLOC_DIRTY_TRACKING). */
  dirtyTracking?: boolean | undefined;
  /** Whether it may become the lower half of a nested table (IOMMU_HWPT_ALLOC_NEST_PARENT). */
  nestParent?: boolean | undefined;
  /** Where page faults go (IOMMU_HWPT_FAULT_ID_VALID). */
  faultQueue?: FaultQueue | undefined;
  /** Whether it can be attached to a PASID (IOMMU_HWPT_ALLOC_PASID, Linux 6.15). */
  pasid?: boolean | undefined;
  /** What the IOMMU's driver takes besides, which is rarely anything. */
  data?: HwptData | undefined;
}

/** How much one call of the addon asks for. */
const mostWords = 2 ** 18;

/** What of a page table to look at. */
export interface DirtyRange {
  /** Where it begins. */
  iova: bigint;
  /** In bytes. */
  length: bigint;
  /** The bytes that one bit stands for: a power of two, the IOMMU's page size or a multiple. */
  pageSize?: bigint | undefined;
  /** Whether to call them clean from now on; true by default. */
  clear?: boolean | undefined;
}

/** An {@link Ioas}, as its page tables know it. */
interface TabledSpace extends LowerSpace {
  readonly id: number;
  readonly iommufdIdentity: string;
  readonly users: Users;
}

/** A page table of the hardware, to which `device.attach` attaches. */
export class Hwpt extends Closable {
  readonly #iommufd: OwnedFd;
  readonly #ioas: TabledSpace;
  readonly #id: number;
  /** Devices that were attached to it through this object. */
  readonly #users: Users;
  #closed = false;

  static {
    defineInspect(this, 'Hwpt', (hwpt) => {
      const state = hwpt.#closed || hwpt.#iommufd.closed ? 'closed' : 'open';
      return { id: hwpt.#id, iommufd: hwpt.#iommufd.path, state };
    });
  }

  private constructor(iommufd: OwnedFd, ioas: TabledSpace, id: number) {
    super();
    this.#iommufd = iommufd;
    this.#ioas = ioas;
    this.#id = id;
    this.#users = new Users(`HWPT ${id}`);
    ioas.users.addTable(id);
  }

  /** @internal */
  static *create(
    iommufd: OwnedFd,
    ioas: TabledSpace,
    device: BoundDevice,
    options: HwptOptions,
  ): Steps<Hwpt> {
    const named = { syscall: 'ioctl', request: 'IOMMU_HWPT_ALLOC', path: iommufd.path };
    const devId = devIdOf(device, ioas.iommufdIdentity, named);
    requireObject('options', options);
    const { dirtyTracking = false, nestParent = false, faultQueue, pasid = false } = options;
    requireBoolean('dirtyTracking', dirtyTracking);
    requireBoolean('nestParent', nestParent);
    requireBoolean('pasid', pasid);
    checkFaultQueue(faultQueue);
    const data = options.data === undefined ? noHwptData : encodeHwptData(options.data);
    const flags =
      (nestParent ? hwptFlags.nestParent : 0) |
      (dirtyTracking ? hwptFlags.dirtyTracking : 0) |
      (faultQueue ? hwptFlags.faultId : 0) |
      (pasid ? hwptFlags.pasid : 0);
    const request = { device: devId, of: ioas.id, flags, faultQueue, data };
    return new Hwpt(iommufd, ioas, yield* allocateHwpt(iommufd, request));
  }

  /** Whether it is one, and not only called so. @internal */
  static isHwpt(value: unknown): value is Hwpt {
    return typeof value === 'object' && value !== null && #iommufd in value;
  }

  /**
   * Its id in the iommufd.
   *
   * @throws VfioError `ERR_VFIO_CLOSED`
   */
  get id(): number {
    if (this.#closed || this.#iommufd.closed) {
      throw closedError(`HWPT ${this.#id}`, this.#iommufd.closing);
    }
    return this.#id;
  }

  /**
   * Makes a page table whose upper half a guest has in its own memory, and whose lower half is this
   * one, which was made with `nestParent` (IOMMU_HWPT_ALLOC).
   *
   * @throws TypeError, RangeError
   * @throws VfioError `ENOTSUP` where the IOMMU nests none of that type, `EINVAL` where this is no
   *   nesting parent; `ENOENT`, reason `other-iommufd`; `ERR_VFIO_CLOSED`
   */
  async createNested(
    device: BoundDevice,
    data: HwptData,
    options: NestedHwptOptions = {},
  ): Promise<NestedHwpt> {
    return await run(NestedHwpt.create(this.#own, device, data, options));
  }

  /** The blocking form of {@link createNested}. */
  createNestedSync(
    device: BoundDevice,
    data: HwptData,
    options: NestedHwptOptions = {},
  ): NestedHwpt {
    return runSync(NestedHwpt.create(this.#own, device, data, options));
  }

  /**
   * Makes a vIOMMU over this page table, which was made with `nestParent` (IOMMU_VIOMMU_ALLOC, Linux
   * 6.13): a part, for one guest, of the IOMMU in front of the device.
   *
   * @throws TypeError, RangeError
   * @throws VfioError `ENOTSUP` where the IOMMU has none of that type, `EINVAL` where this is no
   *   nesting parent; `ENOENT`, reason `other-iommufd`; `ERR_VFIO_CLOSED`
   */
  async createViommu(device: BoundDevice, options: ViommuOptions): Promise<Viommu> {
    return await run(Viommu.create(this.#own, device, options));
  }

  /** The blocking form of {@link createViommu}. */
  createViommuSync(device: BoundDevice, options: ViommuOptions): Viommu {
    return runSync(Viommu.create(this.#own, device, options));
  }

  /** The {@link Ioas} whose maps it has. */
  get ioas(): AddressSpace {
    return this.#ioas;
  }

  /** That of its address space. @internal */
  get iommufdIdentity(): string {
    return this.#ioas.iommufdIdentity;
  }

  /** That of its address space. @internal */
  get space(): AttachedSpace {
    return this.#ioas.space;
  }

  /** A device was attached to it, and so to its address space. @internal */
  attached(device: string): void {
    this.#users.attach(device);
    this.#ioas.attached(device);
  }

  /** @internal */
  detached(device: string): void {
    this.#users.detach(device);
    this.#ioas.detached(device);
  }

  /**
   * Starts or stops to note which pages devices write; starting calls all of them clean
   * (IOMMU_HWPT_SET_DIRTY_TRACKING). Proven on the kernel's mock IOMMU, not on hardware: no IOMMU
   * of the lab tracks.
   *
   * @param on - whether it is noted from now on
   * @throws TypeError
   * @throws VfioError `ENOTSUP` where it was not made for it; `ERR_VFIO_CLOSED`
   */
  async setDirtyTracking(on: boolean): Promise<void> {
    if (typeof on !== 'boolean') throw invalidType('on', 'a boolean', on);
    const answer = await binding().hwptSetDirtyTracking(this.#iommufd.native, this.id, on ? 1 : 0);
    check(answer, this.#call('IOMMU_HWPT_SET_DIRTY_TRACKING'));
  }

  /**
   * The pages of a range that devices wrote since they were last called clean
   * (IOMMU_HWPT_GET_DIRTY_BITMAP). Proven on the kernel's mock IOMMU, not on hardware: no IOMMU of
   * the lab tracks.
   *
   * @throws TypeError; RangeError also where part of the range is not mapped, since the kernel says
   *   nothing then
   * @throws VfioError `ENOTSUP`, `EINVAL` (tracking is off, or the page size is not the IOMMU's);
   *   `ERR_VFIO_CLOSED`
   */
  async readDirty(range: DirtyRange): Promise<DirtyPages> {
    requireObject('range', range);
    const iova = checkIova('iova', range.iova);
    const length = checkIova('length', range.length);
    checkEnd('iova', iova, length);
    const { pageSize: page = 4096n, clear = true } = range;
    const pageSize = checkAlignment('pageSize', page);
    requireBoolean('clear', clear);
    if (length === 0n || iova % pageSize !== 0n || length % pageSize !== 0n) {
      throw outOfRange('length', 'like iova a multiple of pageSize, and not 0', length);
    }
    const words = (length / pageSize + 63n) / 64n;
    if (words > mostWords) throw outOfRange('length', `at most ${mostWords * 64} pages`, length);
    this.#checkMapped(iova, length);
    const flags = clear ? 0 : 1;
    const where = [iova, length, pageSize, Number(words)] as const;
    const answer = await binding().hwptGetDirtyBitmap(
      this.#iommufd.native,
      this.id,
      flags,
      ...where,
    );
    const named = this.#call('IOMMU_HWPT_GET_DIRTY_BITMAP');
    return new DirtyPages(iova, length, pageSize, checkList(answer, named));
  }

  /**
   * Destroys the page table (IOMMU_DESTROY). Closing twice, or after the iommufd, is harmless.
   *
   * @throws VfioError `EBUSY`, reason `still-attached`, while a device is attached to it; it stays
   *   open then
   */
  async close(): Promise<void> {
    await run(this.#close());
  }

  /** The blocking form of {@link close}. */
  closeSync(): void {
    runSync(this.#close());
  }

  *#close(): Steps<void> {
    const iommufd = this.#take();
    if (iommufd) this.#settle(yield* call('destroy', iommufd, this.#id));
  }

  /** For what is made of it. */
  get #own(): NestingParent {
    const { id } = this;
    const ioas = this.#ioas;
    const { iommufdIdentity } = ioas;
    return { fd: this.#iommufd, iommufdIdentity, users: this.#users, id, ioas };
  }

  /** Every byte of the range is in a mapping that this program made. */
  #checkMapped(iova: bigint, length: bigint): void {
    const extents = this.#ioas.mappings.map(({ extent }) => extent);
    extents.sort((a, b) => (a.iova < b.iova ? -1 : 1));
    let at = iova;
    for (const extent of extents) {
      if (extent.iova <= at && at < extent.iova + extent.length) at = extent.iova + extent.length;
    }
    if (at < iova + length) throw outOfRange('length', `mapped up to the end`, length);
  }

  #call(request: string): CallName {
    return { syscall: 'ioctl', request, path: this.#iommufd.path };
  }

  #take(): NativeFd | undefined {
    if (this.#closed) return undefined;
    this.#closed = true;
    return this.#iommufd.closed ? undefined : this.#iommufd.native;
  }

  #settle(answer: Answer): void {
    this.#closed = answer === 0;
    this.#users.checkDestroyed(answer, this.#call('IOMMU_DESTROY'));
    this.#ioas.users.removeTable(this.#id);
  }
}
