import { invalidType, requireObject } from '../core/arguments.ts';
import { type Answer, binding, type NativeFd } from '../core/binding.ts';
import { type CallName, check } from '../core/call.ts';
import { EINVAL, ENOENT, ENOSPC } from '../core/errno.ts';
import { closedError, explained, systemError, VfioError } from '../core/errors.ts';
import { defineInspect } from '../core/inspect_handle.ts';
import { checkEnd, checkIova, lastIova } from '../core/iova.ts';
import type { OwnedFd } from '../core/owned_fd.ts';
import type { IovaExtent } from '../core/reasons.ts';
import { type SharedToken, tokenOf } from '../core/shared_token.ts';
import {
  closing,
  either,
  type HasClose,
  inOrder,
  run,
  runSync,
  type Steps,
} from '../core/steps.ts';
import type { DirtyPages } from '../feature/dirty_pages.ts';
import type { Bounds } from '../diagnose/map_causes.ts';
import { AddressSpace, type MapOptions, type MapTarget } from '../iommu/address_space.ts';
import type { DmaMapping } from '../iommu/mapping.ts';
import type { MapPlan } from '../iommu/maps.ts';
import { planned, type Source, sourceOf } from '../iommu/source.ts';
import { type ContainerInfo, containerInfoSize, decodeContainerInfo } from './container_info.ts';
import {
  type ContainerRange,
  DirtyUnmap,
  readDirty,
  trackDirty,
  type UnmappedDirty,
} from './container_dirty.ts';
import type { UsedIovas } from './used_iovas.ts';

/** VFIO_DMA_MAP_FLAG_* */
const mapFlags = { read: 1, write: 2 };

/** What a space needs of its container. */
export interface SpaceParent {
  fd: OwnedFd;
  /** Shared by all that map there. */
  usedIovas: UsedIovas;
  forget: (space: ContainerSpace) => void;
  /** Closed with it. */
  own?: HasClose;
}

/**
 * The address space of a {@link Container}: what all devices in it reach by DMA. A container has
 * one; each object that `createIoas()` answers maps there and undoes what it mapped. It is there
 * while devices are open in the container, and is empty again when the last is closed.
 */
export class ContainerSpace extends AddressSpace {
  /** @internal */
  readonly mapRequest = 'VFIO_IOMMU_MAP_DMA';
  /** @internal */
  readonly unmapRequest = 'VFIO_IOMMU_UNMAP_DMA';
  /** A container pins when it maps. @internal */
  readonly pins = true;
  readonly #parent: SpaceParent;
  #closed = false;

  static {
    defineInspect(this, 'ContainerSpace', (space) => {
      const { path, closed } = space.#parent.fd;
      return { container: path, state: space.#closed || closed ? 'closed' : 'open' };
    });
  }

  private constructor(parent: SpaceParent) {
    super(parent.fd);
    this.#parent = parent;
  }

  /** @internal */
  static of(parent: SpaceParent): ContainerSpace {
    return new ContainerSpace(parent);
  }

  /** Whether it is one, and not only called so. @internal */
  static isContainerSpace(value: unknown): value is ContainerSpace {
    return typeof value === 'object' && value !== null && #parent in value;
  }

  /** The container's descriptor, by which a device knows its own. @internal */
  get container(): OwnedFd {
    return this.#parent.fd;
  }

  /**
   * Unmaps what this object mapped. Closing twice, or after the container, is harmless.
   *
   * @throws VfioError what the kernel answers to unmapping
   */
  async close(): Promise<void> {
    await run(this.#close());
  }

  /** The blocking form of {@link close}. */
  closeSync(): void {
    runSync(this.#close());
  }

  *#close(): Steps<void> {
    const { own, fd } = this.#parent;
    const leaving = this.#leave() ? [this.maps.leave(fd.native)] : [];
    yield* inOrder(...leaving, closing(own));
  }

  /**
   * A token by which another thread of this process maps in the same container, by an object of its
   * own: {@link fromShared}. What each maps, it unmaps.
   *
   * @throws VfioError `ERR_VFIO_CLOSED`
   */
  share(): SharedToken<'container-space'> {
    this.requireOpen();
    const { fd } = this.#parent;
    return tokenOf('container-space', { fd: fd.offer(), path: fd.path });
  }

  /**
   * Starts or stops to note which pages devices write, for all that have the container
   * (VFIO_IOMMU_DIRTY_PAGES). A device whose pages the kernel cannot watch, as every PCI device,
   * counts as having written all that is mapped; mediated devices tell more.
   *
   * @param on - whether it is noted from now on
   * @throws TypeError; VfioError `ENOTTY` where the container is an older kernel's;
   *   `ERR_VFIO_CLOSED`
   */
  async setDirtyTracking(on: boolean): Promise<void> {
    await run(this.#setDirtyTracking(on));
  }

  /** The blocking form of {@link setDirtyTracking}. */
  setDirtyTrackingSync(on: boolean): void {
    runSync(this.#setDirtyTracking(on));
  }

  /**
   * The pages of a range that devices wrote since they were last asked for
   * (VFIO_IOMMU_DIRTY_PAGES), of `iovaAlignment` bytes each. What is not mapped is clean.
   *
   * @throws TypeError, RangeError
   * @throws VfioError `EINVAL` (tracking is off, or the range cuts what is mapped);
   *   `ERR_VFIO_CLOSED`
   */
  async readDirty(range: ContainerRange): Promise<DirtyPages> {
    return await run(this.#readDirty(range));
  }

  /** The blocking form of {@link readDirty}. */
  readDirtySync(range: ContainerRange): DirtyPages {
    return runSync(this.#readDirty(range));
  }

  /**
   * Unmaps as {@link unmap} does, and tells which pages devices had written until then
   * (VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP): nothing is written between the two.
   *
   * @throws TypeError, RangeError
   * @throws VfioError `EINVAL` (tracking is off), `ENOENT`, reason `not-mapped`; `ERR_VFIO_CLOSED`
   */
  async unmapDirty(iova: bigint, length: bigint): Promise<UnmappedDirty> {
    return await run(this.#unmapDirty(iova, length));
  }

  /** The blocking form of {@link unmapDirty}. */
  unmapDirtySync(iova: bigint, length: bigint): UnmappedDirty {
    return runSync(this.#unmapDirty(iova, length));
  }

  *#setDirtyTracking(on: boolean): Steps<void> {
    if (typeof on !== 'boolean') throw invalidType('on', 'a boolean', on);
    this.requireOpen();
    yield* trackDirty(this.#parent.fd, on);
  }

  *#readDirty(range: ContainerRange): Steps<DirtyPages> {
    requireObject('range', range);
    return yield* readDirty(this.#parent.fd, range, this.#dirtyPageSize());
  }

  *#unmapDirty(iova: bigint, length: bigint): Steps<UnmappedDirty> {
    checkEnd('iova', checkIova('iova', iova), checkIova('length', length));
    const unmap = new DirtyUnmap({ iova, length }, this.#dirtyPageSize());
    const bytes = yield* this.maps.unmap(iova, length, (fd) => unmap.unmap(fd));
    return { bytes, dirty: unmap.dirty };
  }

  /** The container's last device was closed: the kernel unmapped everything. @internal */
  emptied(): void {
    this.maps.forgetAll();
  }

  /** Whether there is anything to undo. */
  #leave(): boolean {
    if (this.#closed) return false;
    this.#closed = true;
    this.#parent.forget(this);
    return !this.#parent.fd.closed;
  }

  /** @internal */
  requireOpen(): void {
    if (!this.#closed && !this.#parent.fd.closed) return;
    const { path } = this.#parent.fd;
    throw closedError(`the address space of ${path}`, this.#parent.fd.closing);
  }

  /** A container maps by address only. @internal */
  protected sourceOf(source: unknown, options: MapOptions): Source {
    return sourceOf(source, options, () => false);
  }

  /** @internal */
  protected planOf({ iova, read, write }: MapTarget, given: Source): MapPlan {
    const flags = (read ? mapFlags.read : 0) | (write ? mapFlags.write : 0);
    return planned(given, (source) => {
      if (iova !== undefined) checkEnd('iova', iova, source.length);
      const info = this.#info();
      if (iova !== undefined) return { iova, fixed: true, flags, source };
      const chosen = this.#choose(source.length, info);
      return { iova: chosen, fixed: true, chosen: true, flags, source };
    });
  }

  /** @internal */
  protected mapPlanned(plan: MapPlan, again: () => MapPlan): Promise<DmaMapping> {
    return run(this.#mapWhereFree(plan, again));
  }

  /** @internal */
  protected mapPlannedSync(plan: MapPlan, again: () => MapPlan): DmaMapping {
    return runSync(this.#mapWhereFree(plan, again));
  }

  /**
   * Another thread or process may have something at the address that was chosen: it is left alone from then
   * on, and another is chosen.
   */
  *#mapWhereFree(first: MapPlan, again: () => MapPlan): Steps<DmaMapping> {
    for (let plan = first; ; plan = again()) {
      try {
        return yield* either(
          () => this.maps.map(plan),
          () => this.maps.mapSync(plan),
        );
      } catch (error) {
        const isTaken = error instanceof VfioError && error.code === 'EEXIST';
        if (!plan.chosen || !isTaken) throw error;
        this.#parent.usedIovas.take({ iova: plan.iova, length: plan.source.length });
      }
    }
  }

  /** Memory of ours, or memory by its address. @internal */
  mapSource(source: Source, flags: number, iova: bigint): ReturnType<Source['map']> {
    const { memory, offset, length } = source;
    const { native } = this.#parent.fd;
    this.requireOpen();
    return memory === undefined
      ? binding().containerMap(native, flags, offset, length, iova)
      : binding().containerMapMemory(native, flags, memory.native, offset, length, iova);
  }

  /** @internal */
  mapSourceSync(source: Source, flags: number, iova: bigint): bigint | Answer {
    const { memory, offset, length } = source;
    const { native } = this.#parent.fd;
    this.requireOpen();
    return memory === undefined
      ? binding().containerMapSync(native, flags, offset, length, iova)
      : binding().containerMapMemorySync(native, flags, memory.native, offset, length, iova);
  }

  /** @internal */
  async unmapRange(fd: NativeFd, iova: bigint, length: bigint): Promise<bigint | Answer> {
    return normalised(await binding().containerUnmap(fd, ...target(iova, length)), length);
  }

  /** @internal */
  unmapRangeSync(fd: NativeFd, iova: bigint, length: bigint): bigint | Answer {
    return normalised(binding().containerUnmapSync(fd, ...target(iova, length)), length);
  }

  /** @internal */
  bounds(): Bounds {
    return this.#info();
  }

  /** @internal */
  get available(): number | undefined {
    return this.#info().available;
  }

  /** @internal */
  took(extent: IovaExtent): void {
    this.#parent.usedIovas.take(extent);
  }

  /** @internal */
  gave(iova: bigint): void {
    this.#parent.usedIovas.free(iova);
  }

  /**
   * Takes an address that is a multiple of the largest page that fits, so that the IOMMU can use
   * such pages.
   */
  #choose(length: bigint, { alignment, pageSizes, ranges }: ContainerInfo): bigint {
    const { usedIovas } = this.#parent;
    const best = pageSizes.findLast((size) => size <= length) ?? alignment;
    const iova =
      usedIovas.choose(length, best, ranges) ?? usedIovas.choose(length, alignment, ranges);
    if (iova === undefined) {
      const facts = { length, ranges };
      const error = systemError({ errno: ENOSPC, ...this.#call('VFIO_IOMMU_MAP_DMA') });
      throw explained(error, { reason: 'iova-exhausted', certainty: 'certain', facts });
    }
    usedIovas.take({ iova, length });
    return iova;
  }

  /** Where the kernel has no such page it will say what it thinks of the request. */
  #dirtyPageSize(): bigint {
    const { dirtyPageSize, alignment } = this.#info();
    return dirtyPageSize ?? alignment;
  }

  /** Fits what x86 has; asked again where there is more. */
  #info(): ContainerInfo {
    this.requireOpen();
    const { fd } = this.#parent;
    const call = this.#call('VFIO_IOMMU_GET_INFO');
    for (let bytes = 512; ;) {
      const words = new Uint32Array(bytes / 4);
      const answer = binding().containerInfo(fd.native, words);
      if (answer === EINVAL) {
        const facts = { path: fd.path };
        const error = systemError({ errno: EINVAL, ...call });
        throw explained(error, { reason: 'container-empty', certainty: 'certain', facts });
      }
      check(answer, call);
      const { 0: wanted = containerInfoSize } = words;
      if (wanted <= bytes) return decodeContainerInfo(new DataView(words.buffer));
      bytes = Math.ceil(wanted / 8) * 8;
    }
  }

  #call(request: string): CallName {
    return { syscall: 'ioctl', request, path: this.#parent.fd.path };
  }
}

const VFIO_DMA_UNMAP_FLAG_ALL = 2;

/** Everything is a flag here, and no range. */
function target(iova: bigint, length: bigint): [flags: number, iova: bigint, length: bigint] {
  const isAll = iova === 0n && length === lastIova;
  return isAll ? [VFIO_DMA_UNMAP_FLAG_ALL, 0n, 0n] : [0, iova, length];
}

/** type1 answers 0 where nothing is mapped, and EINVAL to a range that would cut what is. */
function normalised(answer: bigint | Answer, length: bigint): bigint | Answer {
  const isAll = length === lastIova;
  if (answer === EINVAL && length > 0n && !isAll) return ENOENT;
  return answer === 0n && !isAll ? ENOENT : answer;
}
