import { closedError, VfioError } from '../core/errors.ts';
import { defineInspect } from '../core/inspect_handle.ts';
import type { Listed } from '../core/linked_list.ts';
import type { Cause, IovaExtent } from '../core/reasons.ts';
import { type SharedToken, tokenOf } from '../core/shared_token.ts';
import { makeUncloneable } from '../core/uncloneable.ts';
import { type DmaSpan, SpanAddresses, unmappedError } from './dma_span.ts';
import { SharedCount } from './shared_count.ts';

/** A DmaBuffer, as its mappings know it. */
export interface MappedBuffer {
  readonly disposed: boolean;
  view(offset: number, length: number): Uint8Array;
  share(): SharedToken<'dma-buffer'>;
  mapped(mapping: DmaMapping): Listed<DmaMapping>;
  unmapped(place: Listed<DmaMapping>): void;
}

/** What is mapped, as far as the mapping needs it. */
export interface MappedSource {
  readonly size: number;
  readonly length: bigint;
  readonly buffer: MappedBuffer | undefined;
  /** Where in the buffer it begins, where there is one. */
  readonly bufferOffset: number;
}

/** What makes a mapping and undoes it: its address space. */
export interface Unmapper {
  unmap: (mapping: DmaMapping) => Promise<void>;
  unmapSync: (mapping: DmaMapping) => void;
  share: () => SharedToken<'ioas' | 'container-space'>;
  /** Whether the address space is gone, and all maps with it. */
  readonly closed: boolean;
  /** Why, where that is known. */
  readonly closing: Cause | undefined;
}

const nothing = { buffer: undefined, bufferOffset: 0 };

/** Memory that devices reach at `iova`, until it is unmapped. Made by {@link Ioas.map}. */
export class DmaMapping implements DmaSpan {
  /** Where devices reach it. */
  readonly iova: bigint;
  /** In bytes. */
  readonly size: number;
  readonly #space: Unmapper;
  readonly #length: bigint;
  #mapped = true;
  #unmapping: Promise<void> | undefined;
  #bytes: Uint8Array | undefined;
  #addresses: SpanAddresses | undefined;
  /** Whether a device was attached when, or since, it was mapped: then its pages are pinned. */
  #pinned: boolean;
  /** Where it was shared: of its owners, the last has the kernel unmap it. */
  #owners: SharedCount | undefined;

  /** Whose memory it is. @internal */
  source: Pick<MappedSource, 'buffer' | 'bufferOffset'>;
  /** Where it stands among what its address space mapped, while it is mapped. @internal */
  inSpace: Listed<DmaMapping> | undefined;
  /** Where it stands among the mappings of its DmaBuffer. @internal */
  inBuffer: Listed<DmaMapping> | undefined;

  /** @internal */
  static {
    defineInspect(this, 'DmaMapping', (mapping) => {
      const state = mapping.#mapped ? 'mapped' : 'unmapped';
      return { iova: mapping.iova, size: mapping.size, state };
    });
  }

  private constructor(space: Unmapper, iova: bigint, source: MappedSource, pinned: boolean) {
    makeUncloneable(this);
    this.#space = space;
    this.iova = iova;
    this.size = source.size;
    this.#length = source.length;
    this.source = source;
    this.#pinned = pinned;
  }

  /** One that `space` made. @internal */
  static of(space: Unmapper, iova: bigint, source: MappedSource, pinned: boolean): DmaMapping {
    return new DmaMapping(space, iova, source, pinned);
  }

  /** One that another thread made, too. @internal */
  static adoptShared(
    space: Unmapper,
    iova: bigint,
    source: MappedSource,
    owners: SharedCount,
  ): DmaMapping {
    const mapping = new DmaMapping(space, iova, source, true);
    mapping.#owners = owners;
    return mapping;
  }

  /**
   * Whether it is mapped: not yet unmapped, by whatever call of this thread, nor gone with its
   * iommufd or container.
   */
  get mapped(): boolean {
    return this.#mapped && !this.#space.closed;
  }

  /** See {@link DmaSpan.iovaOf}. */
  iovaOf(offset: number): bigint {
    return this.#at().of(offset);
  }

  /** See {@link DmaSpan.iovaLow}. */
  iovaLow(offset: number): number {
    return this.#at().low(offset);
  }

  /** See {@link DmaSpan.iovaHigh}. */
  iovaHigh(offset: number): number {
    return this.#at().high(offset);
  }

  /**
   * The bytes that are mapped, of a DmaBuffer. Detached when that is disposed of: then its length
   * is 0.
   *
   * @throws VfioError `ERR_VFIO_CLOSED` where it is unmapped; `ERR_VFIO_UNSUPPORTED` where what is
   *   mapped is no DmaBuffer; as {@link DmaBuffer.buffer}
   */
  get bytes(): Uint8Array {
    if (!this.mapped) throw this.unmappedError();
    const { bufferOffset } = this.source;
    this.#bytes ??= this.#buffer().view(bufferOffset, this.size);
    return this.#bytes;
  }

  /**
   * A token by which another thread of this process gets the same mapping, with its bytes, and
   * becomes one more owner: {@link fromShared}. The last that unmaps it has the kernel do so; each
   * may unmap its own and dispose of its memory whenever it likes. What unmaps a range, or all of
   * an address space, unmaps it for all.
   *
   * @throws VfioError as {@link bytes}
   */
  share(): SharedToken<'dma-mapping'> {
    const buffer = this.#buffer().share();
    const space = this.#space.share();
    this.#owners ??= SharedCount.make();
    const owners = this.#owners.offer();
    const { iova, size } = this;
    const { bufferOffset } = this.source;
    return tokenOf('dma-mapping', { space, buffer, owners, iova, size, bufferOffset });
  }

  #buffer(): MappedBuffer {
    const { buffer } = this.source;
    if (!this.mapped) throw this.unmappedError();
    if (buffer !== undefined) return buffer;
    const message = 'what is mapped is no DmaBuffer, so this package has no view of its bytes';
    throw new VfioError({ code: 'ERR_VFIO_UNSUPPORTED', message });
  }

  /** @internal */
  get extent(): IovaExtent {
    return { iova: this.iova, length: this.#length };
  }

  /** @internal */
  get pinned(): boolean {
    return this.#pinned;
  }

  /** @internal */
  notePinned(): void {
    this.#pinned = true;
  }

  /** Gives up this owner's part: whether there is no other left. @internal */
  leave(): boolean {
    const owners = this.#owners;
    this.#owners = undefined;
    return owners?.drop() ?? true;
  }

  #at(): SpanAddresses {
    if (!this.mapped) throw this.unmappedError();
    this.#addresses ??= new SpanAddresses(this.iova, this.size);
    return this.#addresses;
  }

  /** Why it is not mapped. @internal */
  unmappedError(): VfioError {
    if (!this.#space.closed) return unmappedError(this.iova);
    return closedError(
      `the address space of the DMA memory at 0x${this.iova.toString(16)}`,
      this.#space.closing,
    );
  }

  /** It is unmapped, or its address space is gone. @internal */
  settle(): void {
    this.leave();
    this.#mapped = false;
    this.#bytes = undefined;
    this.source = nothing;
    this.inSpace = undefined;
    this.inBuffer = undefined;
  }

  /**
   * Unmaps it (IOMMU_IOAS_UNMAP): when this resolves no device reaches the memory, unless another
   * thread shares it. Harmless where it is unmapped already, or its address space is closed.
   *
   * @throws VfioError `EBUSY`, `EDEADLK` (an mdev holds its pages)
   */
  unmap(): Promise<void> {
    if (!this.#mapped) return Promise.resolve();
    this.#unmapping ??= this.#space.unmap(this).finally(() => {
      this.#unmapping = undefined;
    });
    return this.#unmapping;
  }

  /** The blocking form of {@link unmap}. */
  unmapSync(): void {
    if (this.#mapped) this.#space.unmapSync(this);
  }

  /** At the end of a block with `using`: {@link unmapSync}. */
  [Symbol.dispose](): void {
    this.unmapSync();
  }

  /** At the end of a block with `await using`: {@link unmap}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.unmap();
  }
}
