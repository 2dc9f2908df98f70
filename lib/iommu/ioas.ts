import { invalidType, invalidValue } from '../core/arguments.ts';
import { type Answer, binding, type NativeFd } from '../core/binding.ts';
import { type CallName, check, checkBig } from '../core/call.ts';
import { EBUSY, ENOTTY, EOPNOTSUPP } from '../core/errno.ts';
import { closedError, VfioError } from '../core/errors.ts';
import { defineInspect } from '../core/inspect_handle.ts';
import { checkEnd, checkIova, checkLength, checkRanges, type IovaRange } from '../core/iova.ts';
import type { OwnedFd } from '../core/owned_fd.ts';
import { type SharedToken, tokenOf } from '../core/shared_token.ts';
import { call, closing, type HasClose, inOrder, run, runSync, type Steps } from '../core/steps.ts';
import type { AttachedSpace, Bounds } from '../diagnose/map_causes.ts';
import type { Region } from '../region/region.ts';
import { AddressSpace, type MapOptions, type MapTarget, readMapOptions } from './address_space.ts';
import type { BoundDevice } from './bound_device.ts';
import { Hwpt, type HwptOptions } from './hwpt.ts';
import type { DmaMapping } from './mapping.ts';
import type { MapPlan } from './maps.ts';
import { PeerMapping } from './peer_mapping.ts';
import { regionSource } from './region_source.ts';
import { SharedCount } from './shared_count.ts';
import { CopySource, planned, type Source, sourceOf } from './source.ts';
import { Users } from './users.ts';

/** Where the copy is, and what devices may do with it. */
export interface CopyOptions extends Omit<MapOptions, 'offset' | 'length'> {
  /** The address space to copy from; this one by default. */
  from?: Ioas | undefined;
}

/** enum iommufd_ioas_map_flags */
const mapFlags = { fixedIova: 1, writeable: 2, readable: 4 };

/** IOMMU_OPTION_HUGE_PAGES, and the operations of IOMMU_OPTION. */
const hugePages = 1;
const optionSet = 0;
const optionGet = 1;

/** A piece of the machine's memory. */
export interface PhysicalExtent {
  /** The physical address. */
  address: bigint;
  /** In bytes. */
  length: number;
}

/** What else the address space needs of its iommufd. */
export interface IoasParent {
  fd: OwnedFd;
  /** Whether the kernel maps files. */
  mapsFiles: () => boolean;
  share: () => SharedToken<'iommufd'>;
  /** The same for all descriptors of one iommufd, and for no others. */
  iommufdIdentity: string;
}

/** An I/O address space: what the devices attached to it can reach by DMA, and where. */
export class Ioas extends AddressSpace {
  /** A source says it. @internal */
  readonly mapRequest: undefined;
  /** @internal */
  readonly unmapRequest = 'IOMMU_IOAS_UNMAP';
  readonly #iommufd: OwnedFd;
  readonly #parent: IoasParent;
  readonly #id: number;
  #closed = false;
  /** Where it was shared: of its owners, the last destroys it. */
  #sharedCount: SharedCount | undefined;
  #own: HasClose | undefined;
  #isPart = false;
  /** Devices that were attached, and page tables that were made, through this object. */
  readonly #users: Users;

  static {
    defineInspect(this, 'Ioas', (ioas) => {
      const state = ioas.#isClosed() ? 'closed' : 'open';
      return { id: ioas.#id, iommufd: ioas.#iommufd.path, state };
    });
  }

  private constructor(parent: IoasParent, id: number) {
    super(parent.fd);
    this.#iommufd = parent.fd;
    this.#parent = parent;
    this.#id = id;
    this.#users = new Users(`IOAS ${id}`);
  }

  /** @internal */
  static adopt(parent: IoasParent, id: number): Ioas {
    return new Ioas(parent, id);
  }

  /** One that has other owners, here or in another thread; closes `own` with it. @internal */
  static adoptShared(
    parent: IoasParent,
    id: number,
    sharedCount: SharedCount,
    own?: HasClose,
  ): Ioas {
    const ioas = new Ioas(parent, id);
    ioas.#sharedCount = sharedCount;
    ioas.#own = own;
    return ioas;
  }

  /**
   * It belongs to a mapping or a pool, of which a program closes no address space: where a device
   * is attached to it still when the last owner goes, it is left, and goes with the iommufd.
   *
   * @internal
   */
  asPart(): this {
    this.#isPart = true;
    return this;
  }

  /**
   * A token by which another thread of this process becomes one more owner: {@link fromShared}.
   * What is mapped is common to all; `mappings` has what was mapped through the object itself.
   *
   * @throws VfioError `ERR_VFIO_CLOSED`
   */
  share(): SharedToken<'ioas'> {
    const { id } = this;
    const iommufd = this.#parent.share();
    this.#sharedCount ??= SharedCount.make();
    const sharedCount = this.#sharedCount.offer();
    return tokenOf('ioas', { iommufd, id, sharedCount });
  }

  /** Whether it is one, and not only called so. @internal */
  static isIoas(value: unknown): value is Ioas {
    return typeof value === 'object' && value !== null && #id in value;
  }

  /**
   * Its id in the iommufd.
   *
   * @throws VfioError `ERR_VFIO_CLOSED`
   */
  get id(): number {
    this.requireOpen();
    return this.#id;
  }

  /** @internal */
  requireOpen(): void {
    if (this.#isClosed()) throw closedError(`IOAS ${this.#id}`, this.#iommufd.closing);
  }

  /**
   * Lets devices reach another device's memory: a BAR, or a part of it (Linux 6.19, not in a
   * container). It may be of any device that is open, and is unmapped when that is closed.
   * {@link PeerMapping} says what takes it away meanwhile and brings it back. `mappings` has it as
   * well, each time that it is mapped.
   *
   * @throws TypeError, RangeError
   * @throws VfioError as {@link map}; `ERR_VFIO_UNSUPPORTED` on older kernels;
   *   `ERR_VFIO_NOT_MAPPABLE` for what is no memory, such as I/O ports; `ENODEV`, reason
   *   `region-unreachable`, where the memory does not answer now
   */
  async mapRegion(region: Region, options: MapOptions = {}): Promise<PeerMapping> {
    return await run(this.#mapRegion(region, options));
  }

  /** The blocking form of {@link mapRegion}. */
  mapRegionSync(region: Region, options: MapOptions = {}): PeerMapping {
    return runSync(this.#mapRegion(region, options));
  }

  /**
   * Maps what is mapped already, here or in another address space of the same iommufd, without
   * pinning and counting its pages again (IOMMU_IOAS_COPY).
   *
   * @param iova - where it is mapped
   * @param length - in bytes
   * @throws TypeError, RangeError
   * @throws VfioError as {@link map}; `ENOENT` where that is not mapped as a whole, `EPERM` to
   *   write what was mapped to be read only
   */
  async copy(iova: bigint, length: number, options: CopyOptions = {}): Promise<DmaMapping> {
    return await this.maps.map(this.#copyPlan(iova, length, options));
  }

  /** The blocking form of {@link copy}. */
  copySync(iova: bigint, length: number, options: CopyOptions = {}): DmaMapping {
    return this.maps.mapSync(this.#copyPlan(iova, length, options));
  }

  /**
   * Keeps ranges usable: the kernel maps by its own choice only there, and refuses a device that
   * has reserved a part of them (IOMMU_IOAS_ALLOW_IOVAS). Replaces what was allowed before; no
   * ranges allow all. Does not block.
   *
   * @throws TypeError, RangeError
   * @throws VfioError `EADDRINUSE` where an attached device reaches less; `EINVAL` for ranges that
   *   overlap; `ERR_VFIO_CLOSED`
   */
  allowIovas(ranges: readonly IovaRange[]): void {
    const words = checkRanges('ranges', ranges).flatMap(({ start, last }) => [start, last]);
    const answer = binding().ioasAllowIovas(
      this.#iommufd.native,
      this.id,
      BigUint64Array.from(words),
    );
    check(answer, this.#call('IOMMU_IOAS_ALLOW_IOVAS'));
  }

  /**
   * Where in the machine's memory something lies that is mapped (IOMMU_IOAS_NOIOMMU_GET_PA, Linux
   * 7.3): of an address space of devices without an IOMMU, whose DMA takes these addresses. Does
   * not block.
   *
   * @param iova - an address that is mapped
   * @param length - bytes that are wanted in one piece
   * @returns the address, and how many bytes from there lie in one piece, `length` at most
   * @throws TypeError, RangeError
   * @throws VfioError `ERR_VFIO_UNSUPPORTED` where the devices have an IOMMU, or the kernel is
   *   older; `ENOENT` (not mapped), `EPERM` (without CAP_SYS_RAWIO); `ERR_VFIO_CLOSED`
   */
  physicalAddress(iova: bigint, length: number): PhysicalExtent {
    const from = checkIova('iova', iova);
    const bytes = BigInt(checkLength('length', length));
    checkEnd('iova', from, bytes);
    const named = this.#call('IOMMU_IOAS_NOIOMMU_GET_PA');
    const { native } = this.#iommufd;
    const out = new BigUint64Array(1);
    const answer = binding().ioasPhysicalAddress(native, this.id, from, bytes, out);
    if (answer === ENOTTY || answer === EOPNOTSUPP) {
      throw new VfioError({
        ...named,
        code: 'ERR_VFIO_UNSUPPORTED',
        errno: answer,
        message:
          'only an address space of devices without an IOMMU has physical addresses, since Linux 7.3',
      });
    }
    return { address: checkBig(answer, named), length: Number(out[0]) };
  }

  /**
   * Whether the IOMMU may use large pages for what is mapped (IOMMU_OPTION_HUGE_PAGES); true unless
   * set. Without, every page can be unmapped alone where it was mapped alone.
   *
   * @throws VfioError `ERR_VFIO_CLOSED`
   */
  get hugePages(): boolean {
    return this.#option(optionGet, 0n) === 1n;
  }

  set hugePages(on: boolean) {
    if (typeof on !== 'boolean') throw invalidType('hugePages', 'a boolean', on);
    this.#option(optionSet, on ? 1n : 0n);
  }

  /**
   * Makes a page table of the hardware for a device, filled with what is mapped here and kept so,
   * to which the device and others that are alike can be attached (IOMMU_HWPT_ALLOC). Attaching to
   * the address space makes one by itself: this is for dirty tracking, page faults and nesting.
   *
   * @throws TypeError, RangeError
   * @throws VfioError `ENOTSUP` where the IOMMU cannot; `ENOENT` for an mdev, and with the reason
   *   `other-iommufd`; `ERR_VFIO_CLOSED`
   */
  async createHwpt(device: BoundDevice, options: HwptOptions = {}): Promise<Hwpt> {
    return await run(Hwpt.create(this.#iommufd, this, device, options));
  }

  /** The blocking form of {@link createHwpt}. */
  createHwptSync(device: BoundDevice, options: HwptOptions = {}): Hwpt {
    return runSync(Hwpt.create(this.#iommufd, this, device, options));
  }

  /**
   * Destroys the address space and unmaps all that is in it (IOMMU_DESTROY); where it is shared,
   * the last owner does, and the others unmap what they mapped. Closing twice, or after the
   * iommufd, is harmless.
   *
   * @throws VfioError `EBUSY`, reason `still-attached`, while a device is attached to it, or a page
   *   table of it open; it stays open then
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
    if (iommufd === undefined) return;
    if (this.#isLast()) {
      const answer = yield* call('destroy', iommufd, this.#id);
      if (this.#isPart && answer === EBUSY) this.maps.end();
      else this.#settle(answer);
      yield* closing(this.#own);
      return;
    }
    yield* inOrder(this.maps.leave(iommufd), closing(this.#own));
  }

  /** The id went with the iommufd. */
  #isClosed(): boolean {
    return this.#closed || this.#iommufd.closed;
  }

  /** Which iommufd it is of: ids of others may be the same. @internal */
  get iommufdIdentity(): string {
    return this.#parent.iommufdIdentity;
  }

  /** A device was attached: all that is mapped is pinned now. @internal */
  attached(device: string): void {
    this.#users.attach(device);
    for (const mapping of this.mappings) mapping.notePinned();
  }

  /** @internal */
  detached(device: string): void {
    this.#users.detach(device);
  }

  /** For the reason why it cannot be closed. @internal */
  get users(): Users {
    return this.#users;
  }

  /** For the reason why a device was not attached. @internal */
  get space(): AttachedSpace {
    const mapped = this.mappings;
    const unpinned = mapped.filter(({ pinned }) => !pinned);
    const extents = (of: DmaMapping[]): AttachedSpace['mapped'] => of.map(({ extent }) => extent);
    return {
      mapped: extents(mapped),
      unpinned: extents(unpinned.length > 0 ? unpinned : mapped),
    };
  }

  /** @internal */
  protected sourceOf(source: unknown, options: MapOptions): Source {
    return sourceOf(source, options, this.#parent.mapsFiles);
  }

  #mapRegion(region: Region, options: MapOptions): Steps<PeerMapping> {
    const target = readMapOptions(options);
    const source = regionSource(region, options, this.#parent.mapsFiles);
    return PeerMapping.make(this.maps, this.planOf(target, source));
  }

  #copyPlan(iova: bigint, length: number, options: CopyOptions): MapPlan {
    const target = readMapOptions(options);
    return this.planOf(target, this.#copySource(iova, length, options));
  }

  #copySource(from: bigint, size: number, { from: space = this }: CopyOptions): Source {
    const iova = checkIova('iova', from);
    const length = BigInt(checkLength('length', size));
    checkEnd('from', iova, length);
    if (!Ioas.isIoas(space)) throw invalidType('options.from', 'an Ioas', space);
    if (space.iommufdIdentity !== this.iommufdIdentity) {
      throw invalidValue('options.from', 'an address space of the same iommufd', space);
    }
    const mapping = space.mappings.find((each) => contains(each, iova, length));
    return new CopySource(space.id, iova, length, mapping);
  }

  /** @internal */
  protected planOf<Of extends Source>(
    { iova, read, write }: MapTarget,
    source: Of,
  ): MapPlan & { source: Of } {
    const fixed = iova !== undefined;
    const flags =
      (fixed ? mapFlags.fixedIova : 0) |
      (read ? mapFlags.readable : 0) |
      (write ? mapFlags.writeable : 0);
    if (!fixed) return { iova: 0n, fixed, flags, source };
    return planned(source, ({ length }) => {
      checkEnd('iova', iova, length);
      return { iova, fixed, flags, source };
    });
  }

  /** @internal */
  protected mapPlanned(plan: MapPlan): Promise<DmaMapping> {
    return this.maps.map(plan);
  }

  /** @internal */
  protected mapPlannedSync(plan: MapPlan): DmaMapping {
    return this.maps.mapSync(plan);
  }

  /** @internal */
  mapSource(source: Source, flags: number, iova: bigint): ReturnType<Source['map']> {
    return source.map(this.#iommufd.native, this.id, flags, iova);
  }

  /** @internal */
  mapSourceSync(source: Source, flags: number, iova: bigint): bigint | Answer {
    return source.mapSync(this.#iommufd.native, this.id, flags, iova);
  }

  /** @internal */
  unmapRange(fd: NativeFd, iova: bigint, length: bigint): Promise<bigint | Answer> | undefined {
    return binding().ioasUnmap(fd, this.#id, iova, length);
  }

  /** @internal */
  unmapRangeSync(fd: NativeFd, iova: bigint, length: bigint): bigint | Answer {
    return binding().ioasUnmapSync(fd, this.#id, iova, length);
  }

  /** @internal */
  get pins(): boolean {
    return this.#users.attached;
  }

  /** Fits what x86 has; asked again where there are more. @internal */
  bounds(): Bounds {
    for (let room = 32; ;) {
      const words = new BigUint64Array(1 + 2 * room);
      const answer = binding().ioasIovaRanges(this.#iommufd.native, this.id, words);
      const count = check(answer, this.#call('IOMMU_IOAS_IOVA_RANGES'));
      if (count > room) {
        room = count;
        continue;
      }
      const [alignment = 1n, ...numbers] = words;
      const ranges = Array.from({ length: count }, (_, at) => ({
        start: numbers[2 * at] ?? 0n,
        last: numbers[2 * at + 1] ?? 0n,
      }));
      return { alignment, ranges };
    }
  }

  #option(operation: number, value: bigint): bigint {
    const { native } = this.#iommufd;
    const answer = binding().iommuOption(native, hugePages, operation, this.id, value);
    return checkBig(answer, this.#call('IOMMU_OPTION'));
  }

  #call(request: string): CallName {
    return { syscall: 'ioctl', request, path: this.#iommufd.path };
  }

  #take(): NativeFd | undefined {
    if (this.#isClosed()) return undefined;
    this.#closed = true;
    return this.#iommufd.native;
  }

  /** Gives up this owner's part: whoever is told that it was the last has to destroy it. */
  #isLast(): boolean {
    const sharedCount = this.#sharedCount;
    this.#sharedCount = undefined;
    return sharedCount?.drop() ?? true;
  }

  #settle(answer: number | undefined): void {
    this.#closed = answer === 0;
    this.#users.checkDestroyed(answer, this.#call('IOMMU_DESTROY'));
    this.maps.end();
  }
}

function contains({ extent }: DmaMapping, iova: bigint, length: bigint): boolean {
  return extent.iova <= iova && iova + length <= extent.iova + extent.length;
}
