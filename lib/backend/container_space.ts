import { type Answer, binding, type NativeFd } from '../core/binding.ts';
import { type CallName, check } from '../core/call.ts';
import { systemError, VfioError } from '../core/errors.ts';
import { closedError, explained } from '../core/explained.ts';
import { defineInspect } from '../core/inspect_handle.ts';
import { checkEnd, checkIova, checkLength, type IovaRange, lastIova } from '../core/iova.ts';
import type { OwnedFd } from '../core/owned_fd.ts';
import { type AddressSpace, type MapOptions, readMapOptions } from '../iommu/address_space.ts';
import type { DmaBuffer } from '../iommu/dma_buffer.ts';
import type { DmaMapping, MappedBuffer } from '../iommu/mapping.ts';
import { type MapPlan, Maps, type SpaceCalls } from '../iommu/maps.ts';
import type { Memory } from '../iommu/memory.ts';
import { AddressSource, type DmaFile, planned, type Source, sourceOf } from '../iommu/source.ts';
import { type ContainerInfo, containerInfoSize, decodeContainerInfo } from './container_info.ts';
import type { Places } from './used_iovas.ts';

/** VFIO_DMA_MAP_FLAG_* */
const mapFlags = { read: 1, write: 2 };

/** What a space needs of its container. */
export interface SpaceParent {
  fd: OwnedFd;
  /** Shared by all that map there. */
  places: Places;
  /** Whether devices are open in it: without, it has no IOMMU. */
  hasIommu: () => boolean;
  forget: (space: ContainerSpace) => void;
}

/**
 * The address space of a {@link Container}: what all devices in it reach by DMA. A container has one;
 * each object that `createIoas()` answers maps there and undoes what it mapped. It is there while
 * devices are open in the container, and is empty again when the last is closed.
 */
export class ContainerSpace implements AddressSpace {
  readonly #parent: SpaceParent;
  readonly #maps: Maps;
  #closed = false;

  static {
    defineInspect(this, 'ContainerSpace', (space) => {
      const { path, closed } = space.#parent.fd;
      return { container: path, state: space.#closed || closed ? 'closed' : 'open' };
    });
  }

  private constructor(parent: SpaceParent) {
    this.#parent = parent;
    const { fd, places } = parent;
    this.#maps = new Maps(fd, 0, {
      calls: containerCalls,
      id: () => this.#open(),
      bounds: () => this.#info(),
      // A container pins when it maps.
      pins: () => true,
      available: () => this.#info().available,
      took: (extent) => {
        places.take(extent);
      },
      gave: (iova) => {
        places.free(iova);
      },
    });
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

  /** What is mapped, as far as this object did it. */
  get mappings(): DmaMapping[] {
    return this.#maps.all;
  }

  /**
   * Lets the container's devices reach memory (VFIO_IOMMU_MAP_DMA). The pages are pinned at once, which
   * takes time in proportion to their number and counts against RLIMIT_MEMLOCK. Without `iova` the
   * lowest address is taken that nothing of this container's has.
   *
   * @param source - a DmaBuffer; or a part of a memfd, of a shmem or hugetlbfs file
   * @throws TypeError, RangeError for arguments that cannot be right
   * @throws VfioError `EEXIST` (something is mapped there), `EINVAL` (misaligned, or where the devices
   *   may not reach; no device is open in the container), `ENOSPC` (no room, or too many maps), `EFAULT`,
   *   `ENOMEM` (RLIMIT_MEMLOCK), each with its reason; `ERR_VFIO_CLOSED`
   */
  async map(source: DmaBuffer | DmaFile, options: MapOptions = {}): Promise<DmaMapping> {
    return this.#map(options, () => sourceOf(source, options, () => false));
  }

  /** As {@link map}, blocking. */
  mapSync(source: DmaBuffer | DmaFile, options: MapOptions = {}): DmaMapping {
    return this.#mapSync(options, () => sourceOf(source, options, () => false));
  }

  /**
   * Maps memory of this process by its address: of another addon, or a device's mapped registers, which
   * lets one device reach another. Nothing keeps that memory where it is: docs/unsafe.md says what the
   * caller has to see to.
   *
   * @throws as {@link map}
   */
  async unsafeMapAddress(
    address: bigint,
    length: number,
    options: Omit<MapOptions, 'offset' | 'length'> = {},
  ): Promise<DmaMapping> {
    const start = checkIova('address', address);
    const source = new AddressSource(start, BigInt(checkLength('length', length)));
    checkEnd('address', start, source.length);
    return this.#map(options, () => source);
  }

  /**
   * Unmaps all that lies wholly in a range (VFIO_IOMMU_UNMAP_DMA). The kernel splits no mapping: a range
   * that cuts one is refused, and one that has several is unmapped with the gaps between them.
   *
   * @returns how many bytes were mapped there
   * @throws TypeError, RangeError
   * @throws VfioError `ENOENT`, reason `not-mapped`; `ERR_VFIO_CLOSED`
   */
  unmap(iova: bigint, length: bigint): Promise<bigint> {
    return this.#maps.unmap(iova, length);
  }

  /** As {@link unmap}, blocking. */
  unmapSync(iova: bigint, length: bigint): bigint {
    return this.#maps.unmapSync(iova, length);
  }

  /**
   * Unmaps everything in the container, whoever mapped it; harmless where nothing is mapped.
   *
   * @returns how many bytes were mapped
   * @throws VfioError `ERR_VFIO_CLOSED`
   */
  unmapAll(): Promise<bigint> {
    return this.unmap(0n, lastIova);
  }

  /** As {@link unmapAll}, blocking. */
  unmapAllSync(): bigint {
    return this.unmapSync(0n, lastIova);
  }

  /**
   * Where memory can be mapped, ascending: what all devices in the container can reach and none has
   * reserved (VFIO_IOMMU_GET_INFO). Every group that joins or leaves changes it. Does not block.
   *
   * @throws VfioError `EINVAL` where no device is open in the container; `ERR_VFIO_CLOSED`
   */
  iovaRanges(): IovaRange[] {
    return this.#info().ranges;
  }

  /**
   * What addresses and lengths have to be multiples of.
   *
   * @throws VfioError as {@link iovaRanges}
   */
  get iovaAlignment(): bigint {
    return this.#info().alignment;
  }

  /** Unmaps what this object mapped. Closing twice, or after the container, is harmless. */
  async close(): Promise<void> {
    if (!this.#leave()) return;
    await this.#maps.leave(this.#parent.fd.native);
  }

  /** As {@link close}, blocking. */
  closeSync(): void {
    if (!this.#leave()) return;
    this.#maps.leaveSync(this.#parent.fd.native);
  }

  [Symbol.dispose](): void {
    this.closeSync();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** The container's last device was closed: the kernel unmapped everything. @internal */
  emptied(): void {
    this.#maps.forgetAll();
  }

  /** Whether there is anything to undo. */
  #leave(): boolean {
    if (this.#closed) return false;
    this.#closed = true;
    this.#parent.forget(this);
    return !this.#parent.fd.closed;
  }

  /** Answers the id that a container does not have. */
  #open(): number {
    if (!this.#closed && !this.#parent.fd.closed) return 0;
    const { path } = this.#parent.fd;
    throw closedError(`the address space of ${path}`, this.#parent.fd.closing);
  }

  #plan(options: MapOptions, makeSource: () => Source): MapPlan {
    const { iova, read, write } = readMapOptions(options);
    const flags = (read ? mapFlags.read : 0) | (write ? mapFlags.write : 0);
    return planned(new ContainerSource(makeSource()), (source) => {
      if (iova !== undefined) checkEnd('iova', iova, source.length);
      const info = this.#info();
      if (iova !== undefined) return { iova, fixed: true, flags, source };
      const chosen = this.#choose(source.length, info);
      return { iova: chosen, fixed: true, chosen: true, flags, source };
    });
  }

  async #map(options: MapOptions, makeSource: () => Source): Promise<DmaMapping> {
    for (;;) {
      const plan = this.#plan(options, makeSource);
      try {
        return await this.#maps.map(plan);
      } catch (error) {
        this.#avoid(plan, error);
      }
    }
  }

  #mapSync(options: MapOptions, makeSource: () => Source): DmaMapping {
    for (;;) {
      const plan = this.#plan(options, makeSource);
      try {
        return this.#maps.mapSync(plan);
      } catch (error) {
        this.#avoid(plan, error);
      }
    }
  }

  /** Another thread has something at the address that was chosen: it is left alone from now on. */
  #avoid({ chosen, iova, source: { length } }: MapPlan, error: unknown): void {
    if (!chosen || !(error instanceof VfioError) || error.code !== 'EEXIST') throw error;
    this.#parent.places.take({ iova, length });
  }

  /** As large pages as fit are worth an address that is a multiple of them. */
  #choose(length: bigint, { alignment, pageSizes, ranges }: ContainerInfo): bigint {
    const { places } = this.#parent;
    const best = pageSizes.findLast((size) => size <= length) ?? alignment;
    const iova = places.choose(length, best, ranges) ?? places.choose(length, alignment, ranges);
    if (iova === undefined) {
      const facts = { length, ranges };
      const error = systemError({ errno: -28, ...this.#call('VFIO_IOMMU_MAP_DMA') });
      throw explained(error, { reason: 'iova-exhausted', certainty: 'certain', facts });
    }
    places.take({ iova, length });
    return iova;
  }

  /** Fits what x86 has; asked again where there is more. */
  #info(): ContainerInfo {
    this.#open();
    const { fd } = this.#parent;
    const call = this.#call('VFIO_IOMMU_GET_INFO');
    if (!this.#parent.hasIommu()) {
      const facts = { path: fd.path };
      const error = systemError({ errno: -22, ...call });
      throw explained(error, { reason: 'container-empty', certainty: 'certain', facts });
    }
    for (let bytes = 512; ;) {
      const words = new Uint32Array(bytes / 4);
      check(binding().containerInfo(fd.native, words), call);
      const { 0: wanted = containerInfoSize } = words;
      if (wanted <= bytes) return decodeContainerInfo(new DataView(words.buffer));
      bytes = Math.ceil(wanted / 8) * 8;
    }
  }

  #call(request: string): CallName {
    return { syscall: 'ioctl', request, path: this.#parent.fd.path };
  }
}

/** A container has no ids: there is one address space in each. */
export const containerCalls: SpaceCalls = {
  unmapRequest: 'VFIO_IOMMU_UNMAP_DMA',
  unmap: async (fd, _ioas, iova, length) => {
    return normalised(await binding().containerUnmap(fd, ...target(iova, length)), length);
  },
  unmapSync: (fd, _ioas, iova, length) => {
    return normalised(binding().containerUnmapSync(fd, ...target(iova, length)), length);
  },
};

const VFIO_DMA_UNMAP_FLAG_ALL = 2;

const EINVAL = -22;
const ENOENT = -2;

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

/** What is to be mapped in a container, which maps by address only. */
export class ContainerSource implements Source {
  readonly request = 'VFIO_IOMMU_MAP_DMA' as const;
  readonly what: Source['what'];
  readonly memory: Memory | undefined;
  readonly buffer: MappedBuffer | undefined;
  readonly offset: bigint;
  readonly length: bigint;

  /** `source`: memory of ours, or memory by its address. */
  constructor({ what, memory, buffer, offset, length }: Source) {
    this.what = what;
    this.memory = memory;
    this.buffer = buffer;
    this.offset = offset;
    this.length = length;
  }

  map(container: NativeFd, _ioas: number, flags: number, iova: bigint): ReturnType<Source['map']> {
    const { memory, offset, length } = this;
    const native = binding();
    return memory === undefined
      ? native.containerMap(container, flags, offset, length, iova)
      : native.containerMapMemory(container, flags, memory.native, offset, length, iova);
  }

  mapSync(container: NativeFd, _ioas: number, flags: number, iova: bigint): bigint | Answer {
    const { memory, offset, length } = this;
    const native = binding();
    return memory === undefined
      ? native.containerMapSync(container, flags, offset, length, iova)
      : native.containerMapMemorySync(container, flags, memory.native, offset, length, iova);
  }
}
