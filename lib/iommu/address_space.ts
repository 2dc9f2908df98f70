import { invalidType, invalidValue, requireObject } from '../core/arguments.ts';
import type { Answer, NativeFd } from '../core/binding.ts';
import { Closable } from '../core/closable.ts';
import { checkEnd, checkIova, checkLength, type IovaRange, lastIova } from '../core/iova.ts';
import type { OwnedFd } from '../core/owned_fd.ts';
import type { SharedToken } from '../core/shared_token.ts';
import { type HasClose, run, runSync } from '../core/steps.ts';
import type { Bounds } from '../diagnose/map_causes.ts';
import type { DmaBuffer } from './dma_buffer.ts';
import type { DmaMapping, MappedSource } from './mapping.ts';
import { type MapPlan, Maps } from './maps.ts';
import type { SharedCount } from './shared_count.ts';
import { AddressSource, type DmaFile, type Source } from './source.ts';

/** What devices may do with what is mapped, and where they find it. */
export interface MapOptions {
  /**
   * Where devices reach it; without it the kernel chooses (for a container this package), and never
   * 0.
   */
  iova?: bigint | undefined;
  /** Whether devices may read it; true by default. */
  read?: boolean | undefined;
  /** Whether devices may write it; true by default. */
  write?: boolean | undefined;
  /**
   * The first byte to map of a DmaBuffer or a region, a multiple of the page size; 0 by default.
   */
  offset?: number | undefined;
  /** How many bytes of a DmaBuffer or a region to map; all that follow by default. */
  length?: number | undefined;
}

/** Where a map is to go, and what devices may do there. */
export interface MapTarget {
  iova: bigint | undefined;
  read: boolean;
  write: boolean;
}

/** The options that are the same for whatever is mapped. @throws TypeError, RangeError */
export function readMapOptions(options: MapOptions): MapTarget {
  requireObject('options', options);
  const { iova, read = true, write = true } = options;
  if (typeof read !== 'boolean') throw invalidType('read', 'a boolean', read);
  if (typeof write !== 'boolean') throw invalidType('write', 'a boolean', write);
  if (!read && !write) throw invalidValue('read', 'true where write is false', read);
  return { iova: iova === undefined ? undefined : checkIova('iova', iova), read, write };
}

/**
 * What the devices attached to it can reach by DMA, and where: an {@link Ioas} of an iommufd, or a
 * {@link ContainerSpace}. What both have, so that a program need not know how its device was
 * opened.
 */
export abstract class AddressSpace extends Closable {
  readonly #maps: Maps;

  /** @internal */
  protected constructor(fd: OwnedFd) {
    super();
    this.#maps = new Maps(fd, this);
  }

  /** Whether it is one of ours, and not only called so. @internal */
  static isAddressSpace(value: unknown): value is AddressSpace {
    return typeof value === 'object' && value !== null && #maps in value;
  }

  /** What is mapped, as far as this object did it. */
  get mappings(): DmaMapping[] {
    return this.#maps.all;
  }

  /**
   * Lets devices reach memory (IOMMU_IOAS_MAP, or IOMMU_IOAS_MAP_FILE where the kernel has it; of a
   * container VFIO_IOMMU_MAP_DMA). The kernel pins the pages, which takes time in proportion to
   * their number and counts against RLIMIT_MEMLOCK. Where no device is attached to an {@link Ioas}
   * it pins nothing yet, and what it cannot pin shows when one is attached: attach first. Without
   * `iova` the kernel chooses; in a container the lowest address is taken that nothing of this
   * container's has.
   *
   * @param source - a DmaBuffer; or a part of a memfd, of a shmem or hugetlbfs file, or, where an
   *   iommufd maps files (Linux 6.13), of a DMA-BUF (6.19)
   * @throws TypeError, RangeError for arguments that cannot be right
   * @throws VfioError `EEXIST` (something is mapped there), `EINVAL` (misaligned, or where the
   *   devices may not reach; no device is open in the container), `ENOSPC` (no room, or too many
   *   maps), `EFAULT` (memory that cannot be pinned), `ENOMEM` (RLIMIT_MEMLOCK), each with its
   *   reason; `ERR_VFIO_CLOSED`
   */
  async map(source: DmaBuffer | DmaFile, options: MapOptions = {}): Promise<DmaMapping> {
    return await this.mapPlanned(this.#planOf(source, options), () =>
      this.#planOf(source, options),
    );
  }

  /** The blocking form of {@link map}. */
  mapSync(source: DmaBuffer | DmaFile, options: MapOptions = {}): DmaMapping {
    return this.mapPlannedSync(this.#planOf(source, options), () => this.#planOf(source, options));
  }

  /**
   * Maps memory of this process by its address: of another addon, say, or a device's mapped
   * registers, which in a container lets one device reach another. Nothing keeps that memory where
   * it is, and devices write to whatever the kernel finds there when it pins: docs/unsafe.md says
   * what the caller has to see to.
   *
   * @param address - a multiple of the page size
   * @param length - in bytes
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
    const plan = (): MapPlan => this.planOf(readMapOptions(options), source);
    return await this.mapPlanned(plan(), plan);
  }

  /**
   * Unmaps all that lies wholly in a range (IOMMU_IOAS_UNMAP, VFIO_IOMMU_UNMAP_DMA). The kernel
   * splits no mapping: a range that cuts one is refused, and one that has several is unmapped with
   * the gaps between them.
   *
   * @param iova - where the range begins
   * @param length - its bytes
   * @returns how many bytes were mapped there
   * @throws TypeError, RangeError
   * @throws VfioError `ENOENT`, reason `not-mapped`; `ERR_VFIO_CLOSED`
   */
  async unmap(iova: bigint, length: bigint): Promise<bigint> {
    return await run(this.#maps.unmap(iova, length));
  }

  /** The blocking form of {@link unmap}. */
  unmapSync(iova: bigint, length: bigint): bigint {
    return runSync(this.#maps.unmap(iova, length));
  }

  /**
   * Unmaps everything, in a container whoever mapped it; harmless where nothing is mapped.
   *
   * @returns how many bytes were mapped
   * @throws VfioError `ERR_VFIO_CLOSED`
   */
  unmapAll(): Promise<bigint> {
    return this.unmap(0n, lastIova);
  }

  /** The blocking form of {@link unmapAll}. */
  unmapAllSync(): bigint {
    return this.unmapSync(0n, lastIova);
  }

  /**
   * Where memory can be mapped, ascending: what all attached devices can reach and none has
   * reserved (IOMMU_IOAS_IOVA_RANGES, VFIO_IOMMU_GET_INFO). Attaching and detaching change it, and
   * every group that joins a container or leaves it. Does not block.
   *
   * @throws VfioError `EINVAL` where no device is open in the container; `ERR_VFIO_CLOSED`
   */
  iovaRanges(): IovaRange[] {
    return this.bounds().ranges;
  }

  /**
   * What addresses, lengths and offsets have to be multiples of, as it is now.
   *
   * @throws VfioError as {@link iovaRanges}
   */
  get iovaAlignment(): bigint {
    return this.bounds().alignment;
  }

  /**
   * A token by which another thread of this process maps in the same address space:
   * {@link fromShared}.
   *
   * @throws VfioError `ERR_VFIO_CLOSED`
   */
  abstract share(): SharedToken<'ioas' | 'container-space'>;

  /** All options are checked before the source may make anything. */
  #planOf(source: unknown, options: MapOptions): MapPlan {
    const target = readMapOptions(options);
    return this.planOf(target, this.sourceOf(source, options));
  }

  /**
   * Unmaps what this object mapped, and more as its class says.
   *
   * @throws VfioError what the kernel answers to that
   */
  abstract override close(): Promise<void>;

  /** The blocking form of {@link close}. */
  abstract override closeSync(): void;

  /** What another thread mapped here; `own` is closed when it is unmapped. @internal */
  adoptMapping(iova: bigint, source: MappedSource, owners: SharedCount, own: HasClose): DmaMapping {
    return this.#maps.adopt(iova, source, owners, own);
  }

  /** @internal */
  protected get maps(): Maps {
    return this.#maps;
  }

  /** What the program wants to have mapped. @internal */
  protected abstract sourceOf(source: unknown, options: MapOptions): Source;

  /** @internal */
  protected abstract planOf(target: MapTarget, source: Source): MapPlan;

  /** `again` makes another plan of the same, for who tries again. @internal */
  protected abstract mapPlanned(plan: MapPlan, again: () => MapPlan): Promise<DmaMapping>;

  /** @internal */
  protected abstract mapPlannedSync(plan: MapPlan, again: () => MapPlan): DmaMapping;

  /** @internal */
  abstract requireOpen(): void;
  /** Undefined where the source says it. @internal */
  abstract readonly mapRequest: string | undefined;
  /** @internal */
  abstract readonly unmapRequest: string;
  /** @internal */
  abstract mapSource(source: Source, flags: number, iova: bigint): ReturnType<Source['map']>;
  /** @internal */
  abstract mapSourceSync(source: Source, flags: number, iova: bigint): bigint | Answer;
  /** @internal */
  abstract unmapRange(
    fd: NativeFd,
    iova: bigint,
    length: bigint,
  ): Promise<bigint | Answer> | undefined;
  /** @internal */
  abstract unmapRangeSync(fd: NativeFd, iova: bigint, length: bigint): bigint | Answer;
  /** @internal */
  abstract bounds(): Bounds;
  /** @internal */
  abstract readonly pins: boolean;
}
