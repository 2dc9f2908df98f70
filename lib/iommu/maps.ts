import type { Answer, NativeFd } from '../core/binding.ts';
import { check, isOfDescriptors } from '../core/call.ts';
import { ENOENT } from '../core/errno.ts';
import { explained, VfioError } from '../core/errors.ts';
import { checkEnd, checkIova } from '../core/iova.ts';
import { LinkedList } from '../core/linked_list.ts';
import type { OwnedFd } from '../core/owned_fd.ts';
import type { Cause, IovaExtent } from '../core/reasons.ts';
import type { SharedToken } from '../core/shared_token.ts';
import { either, type HasClose, type Steps, withAll } from '../core/steps.ts';
import { type Bounds, mapCause, unmapCause } from '../diagnose/map_causes.ts';
import { type MapMessage, maps, type UnmapMessage, unmaps } from './channels.ts';
import { DmaMapping, type MappedSource, type Unmapper } from './mapping.ts';
import type { SharedCount } from './shared_count.ts';
import type { Source } from './source.ts';

/** A map that is about to be made. */
export interface MapPlan {
  iova: bigint;
  fixed: boolean;
  /** Whether the address was taken for it beforehand. */
  chosen?: true;
  flags: number;
  source: Source;
}

type MapAnswer = ReturnType<Source['map']>;

/** How the kernel maps and unmaps in an address space: what {@link Maps} needs of it. */
export interface MappedSpace {
  /** @throws VfioError `ERR_VFIO_CLOSED` */
  requireOpen(): void;
  readonly mapRequest: string | undefined;
  readonly unmapRequest: string;
  mapSource(source: Source, flags: number, iova: bigint): MapAnswer;
  mapSourceSync(source: Source, flags: number, iova: bigint): bigint | Answer;
  /** Answers how many bytes were mapped there, or ENOENT where nothing lies wholly in the range. */
  unmapRange(fd: NativeFd, iova: bigint, length: bigint): Promise<bigint | Answer> | undefined;
  unmapRangeSync(fd: NativeFd, iova: bigint, length: bigint): bigint | Answer;
  bounds(): Bounds;
  /** Whether what is mapped is pinned. */
  readonly pins: boolean;
  share(): SharedToken<'ioas' | 'container-space'>;
  /** How many maps more the kernel takes, where there is a limit. */
  readonly available?: number | undefined;
  /** Hear of every address that is mapped, and unmapped. */
  took?(extent: IovaExtent): void;
  gave?(iova: bigint): void;
}

/**
 * What one object of an address space mapped, and is not unmapped yet: makes mappings and undoes
 * them.
 */
export class Maps {
  /** The iommufd's, or the container's. */
  readonly #fd: OwnedFd;
  readonly #space: MappedSpace;
  readonly #all = new LinkedList<DmaMapping>();
  /** The kernel has the address space no more. */
  #ended = false;
  readonly #unmapper: Unmapper;

  constructor(fd: OwnedFd, space: MappedSpace) {
    this.#fd = fd;
    this.#space = space;
    this.#unmapper = this.#makeUnmapper();
  }

  /** `own` is closed with the mapping. */
  #makeUnmapper(own?: HasClose): Unmapper {
    const isClosed = (): boolean => this.#ended || this.#fd.closed;
    const closing = (): Cause | undefined => this.#fd.closing;
    return {
      unmap: async (mapping) => {
        await this.#unmapOne(mapping);
        await own?.close();
      },
      unmapSync: (mapping) => {
        this.#unmapOneSync(mapping);
        own?.closeSync();
      },
      share: () => this.#space.share(),
      get closed() {
        return isClosed();
      },
      get closing() {
        return closing();
      },
    };
  }

  get all(): DmaMapping[] {
    return this.#all.toArray();
  }

  /** The address space is destroyed, and with it all maps. */
  end(): void {
    this.#ended = true;
    this.forgetAll();
  }

  /** The kernel unmapped everything by itself. */
  forgetAll(): void {
    for (const mapping of this.all) this.#forget(mapping);
  }

  /** Others go on with it: only what was mapped here goes, all of it also where one does not. */
  leave(fd: NativeFd): Steps<void> {
    return withAll(
      this.all,
      (mapping) => this.#unmapOf(fd, mapping),
      (mapping) => {
        this.#unmapOfSync(fd, mapping);
      },
    );
  }

  async map(plan: MapPlan): Promise<DmaMapping> {
    const { source } = plan;
    const mapping = this.#mapped(await this.#begin(plan), plan);
    // Disposed of meanwhile: what comes too late must not stay.
    if (!source.buffer?.disposed) return mapping;
    await mapping.unmap();
    throw new VfioError({ code: 'ERR_VFIO_CLOSED', message: 'the DMA memory was disposed of' });
  }

  mapSync(plan: MapPlan): DmaMapping {
    return this.#mapped(this.#make(plan), plan);
  }

  /**
   * Begins the call that maps. From then on the addon has the memory, and keeps it while it is
   * mapped: what was made for this map alone can be given up here.
   */
  #begin({ source, flags, iova }: MapPlan): MapAnswer {
    source.memory?.ref();
    try {
      return this.#space.mapSource(source, flags, iova);
    } finally {
      source.memory?.unref();
    }
  }

  /** The blocking form. Neither takes a function, which would have to be made for each map. */
  #make({ source, flags, iova }: MapPlan): bigint | Answer {
    source.memory?.ref();
    try {
      return this.#space.mapSourceSync(source, flags, iova);
    } finally {
      source.memory?.unref();
    }
  }

  /** What another thread mapped and shared; `own` is closed when it is unmapped. */
  adopt(iova: bigint, source: MappedSource, owners: SharedCount, own: HasClose): DmaMapping {
    const unmapper = this.#makeUnmapper(own);
    return this.#kept(DmaMapping.adoptShared(unmapper, iova, source, owners), source);
  }

  #mapped(answer: bigint | number | undefined, plan: MapPlan): DmaMapping {
    const { source } = plan;
    if (typeof answer !== 'bigint') {
      if (plan.chosen) this.#space.gave?.(plan.iova);
      return this.#refuseMap(answer, plan);
    }
    const mapping = DmaMapping.of(this.#unmapper, answer, source, this.#space.pins);
    this.#kept(mapping, source);
    if (maps.hasSubscribers) maps.publish({ mapping, size: mapping.size } satisfies MapMessage);
    return mapping;
  }

  #refuseMap(answer: number | undefined, plan: MapPlan): never {
    const { source } = plan;
    const request = this.#space.mapRequest ?? source.request;
    try {
      this.#refuse(answer, request, (error) => mapCause(error, this.#refused(plan)));
    } catch (error) {
      if (maps.hasSubscribers)
        maps.publish({ mapping: undefined, size: source.size, error } satisfies MapMessage);
      throw error;
    }
  }

  #kept(mapping: DmaMapping, { buffer }: MappedSource): DmaMapping {
    mapping.inSpace = this.#all.add(mapping);
    mapping.inBuffer = buffer?.mapped(mapping);
    this.#space.took?.(mapping.extent);
    return mapping;
  }

  #refused({ iova, fixed, source }: MapPlan): Parameters<typeof mapCause>[1] {
    const { length, offset, what } = source;
    return {
      iova,
      length,
      fixed,
      offset,
      what,
      mapped: this.#extents(),
      bounds: () => this.#space.bounds(),
      available: () => this.#space.available,
    };
  }

  /** What is certain to go where a range is unmapped. Looked at before, since a map may follow. */
  #within(iova: bigint, length: bigint): DmaMapping[] {
    checkIova('iova', iova);
    checkIova('length', length);
    checkEnd('iova', iova, length);
    return this.all.filter(({ extent }) => {
      return iova <= extent.iova && extent.iova + extent.length <= iova + length;
    });
  }

  *unmap(
    iova: bigint,
    length: bigint,
    by = (fd: NativeFd): Steps<bigint | Answer> => this.#unmapRange(fd, iova, length),
  ): Steps<bigint> {
    const within = this.#within(iova, length);
    const { native } = this.#fd;
    this.#space.requireOpen();
    const answer = yield* by(native);
    return this.#unmapped(answer, { iova, length }, within);
  }

  #unmapRange(fd: NativeFd, iova: bigint, length: bigint): Steps<bigint | Answer> {
    return either(
      () => this.#space.unmapRange(fd, iova, length),
      () => this.#space.unmapRangeSync(fd, iova, length),
    );
  }

  #unmapped(
    answer: bigint | number | undefined,
    range: IovaExtent,
    gone: readonly DmaMapping[],
  ): bigint {
    if (typeof answer !== 'bigint') return this.#refuseUnmap(answer, range);
    for (const mapping of gone) this.#forget(mapping);
    return answer;
  }

  #refuseUnmap(answer: number | undefined, range: IovaExtent): never {
    return this.#refuse(answer, this.#space.unmapRequest, (error) =>
      unmapCause(error, range, this.#extents()),
    );
  }

  #extents(): IovaExtent[] {
    return this.all.map(({ extent }) => extent);
  }

  async #unmapOne(mapping: DmaMapping): Promise<void> {
    if (!this.#isGone(mapping)) await this.#unmapOf(this.#fd.native, mapping);
  }

  #unmapOneSync(mapping: DmaMapping): void {
    if (!this.#isGone(mapping)) this.#unmapOfSync(this.#fd.native, mapping);
  }

  async #unmapOf(fd: NativeFd, mapping: DmaMapping): Promise<void> {
    if (this.#isLeft(mapping)) return;
    const { iova, length } = mapping.extent;
    this.#unmappedOne(await this.#space.unmapRange(fd, iova, length), mapping);
  }

  #unmapOfSync(fd: NativeFd, mapping: DmaMapping): void {
    if (this.#isLeft(mapping)) return;
    const { iova, length } = mapping.extent;
    this.#unmappedOne(this.#space.unmapRangeSync(fd, iova, length), mapping);
  }

  /**
   * ENOENT says that nothing lies wholly where it was, so it is unmapped already: by another thread
   * or process that has the same iommufd, or with the address space while the call was on its way.
   */
  #unmappedOne(answer: bigint | number | undefined, mapping: DmaMapping): void {
    if (typeof answer === 'bigint' || answer === ENOENT) this.#forget(mapping);
    else this.#refuseUnmap(answer, mapping.extent);
  }

  /** Another thread has it still, and leaves nothing to do here. */
  #isLeft(mapping: DmaMapping): boolean {
    if (mapping.leave()) return false;
    this.#forget(mapping);
    return true;
  }

  /** With its address space. */
  #isGone(mapping: DmaMapping): boolean {
    if (!this.#ended && !this.#fd.closed) return false;
    this.#forget(mapping);
    return true;
  }

  #forget(mapping: DmaMapping): void {
    const { source, inSpace, inBuffer } = mapping;
    if (inSpace === undefined) return;
    this.#all.remove(inSpace);
    if (inBuffer !== undefined) source.buffer?.unmapped(inBuffer);
    mapping.settle();
    if (unmaps.hasSubscribers) unmaps.publish({ mapping } satisfies UnmapMessage);
    this.#space.gave?.(mapping.iova);
  }

  #refuse(
    answer: number | undefined,
    request: string,
    causeOf: (error: VfioError) => Cause | undefined,
  ): never {
    try {
      const { path } = this.#fd;
      const call = isOfDescriptors(answer)
        ? { syscall: 'fcntl', path }
        : { syscall: 'ioctl', request, path };
      throw new Error(`vfio: ${request} answered ${check(answer, call)}`);
    } catch (error) {
      if (!(error instanceof VfioError)) throw error;
      const cause = causeOf(error);
      throw cause ? explained(error, cause) : error;
    }
  }
}
