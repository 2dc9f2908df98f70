import { type Answer, binding, type NativeFd } from '../core/binding.ts';
import { type CallName, check } from '../core/call.ts';
import { EINVAL, ENOENT, ENOSPC } from '../core/errno.ts';
import { closedError, explained, systemError, VfioError } from '../core/errors.ts';
import { defineInspect } from '../core/inspect_handle.ts';
import { checkEnd, lastIova } from '../core/iova.ts';
import type { OwnedFd } from '../core/owned_fd.ts';
import type { IovaExtent } from '../core/reasons.ts';
import { type SharedToken, tokenOf } from '../core/shared_token.ts';
import { closing, either, type HasClose, inOrder, run, runSync, type Steps } from '../core/steps.ts';
import { littleEndian, requireBytes, walkCapabilities } from '../core/structs.ts';
import type { Bounds } from '../diagnose/map_causes.ts';
import { AddressSpace, type MapOptions, type MapTarget } from '../iommu/address_space.ts';
import type { DmaMapping } from '../iommu/mapping.ts';
import type { MapPlan } from '../iommu/maps.ts';
import { planned, type Source, sourceOf } from '../iommu/source.ts';
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

  /** Unmaps what this object mapped. Closing twice, or after the container, is harmless. */
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

/** What a type1 container says of its address space. */
export interface ContainerInfo extends Bounds {
  /** How many maps more it takes; undefined where the kernel does not say. */
  available: number | undefined;
  /** The sizes of its pages, ascending. */
  pageSizes: bigint[];
}

/** struct vfio_iommu_type1_info */
export const containerInfoSize = 24;

const VFIO_IOMMU_INFO_PGSIZES = 1;
const VFIO_IOMMU_INFO_CAPS = 2;

const IOVA_RANGE = 1;
const DMA_AVAIL = 3;

/** The struct and the capabilities that follow it. Kernels before 5.4 tell no ranges. */
function decodeContainerInfo(view: DataView): ContainerInfo {
  const flags = view.getUint32(4, littleEndian);
  const sizes = flags & VFIO_IOMMU_INFO_PGSIZES ? view.getBigUint64(8, littleEndian) : 4096n;
  const first = flags & VFIO_IOMMU_INFO_CAPS ? view.getUint32(16, littleEndian) : 0;
  const pageSizes = bitsOf(sizes);
  const info: ContainerInfo = {
    alignment: pageSizes[0] ?? 4096n,
    pageSizes,
    ranges: [{ start: 0n, last: lastIova }],
    available: undefined,
  };
  for (const { id, data } of walkCapabilities(view, first)) {
    const body = new DataView(data.buffer, data.byteOffset, data.byteLength);
    if (id === IOVA_RANGE) info.ranges = decodeRanges(body);
    if (id === DMA_AVAIL) {
      requireBytes(body, 0, 4);
      info.available = body.getUint32(0, littleEndian);
    }
  }
  return info;
}

/**
 * struct vfio_iommu_type1_info_cap_iova_range: `{u32 count; u32 reserved; {u64 start; u64 end}[]}`
 */
function decodeRanges(body: DataView): Bounds['ranges'] {
  requireBytes(body, 0, 8);
  const count = body.getUint32(0, littleEndian);
  requireBytes(body, 8, 16 * count);
  return Array.from({ length: count }, (_, at) => ({
    start: body.getBigUint64(8 + 16 * at, littleEndian),
    last: body.getBigUint64(16 + 16 * at, littleEndian),
  }));
}

function bitsOf(mask: bigint): bigint[] {
  return Array.from({ length: 64 }, (_, at) => 1n << BigInt(at)).filter((bit) => mask & bit);
}
