import { defineInspect } from '../core/inspect_handle.ts';
import type { Listed } from '../core/linked_list.ts';
import type { IovaExtent } from '../core/reasons.ts';

/** A DmaBuffer, as its mappings know it. */
export interface MappedBuffer {
  readonly disposed: boolean;
  mapped(mapping: DmaMapping): Listed<DmaMapping>;
  unmapped(place: Listed<DmaMapping>): void;
}

/** What is mapped, as far as the mapping needs it. */
interface MappedSource {
  readonly size: number;
  readonly length: bigint;
  readonly buffer: MappedBuffer | undefined;
}

/** What makes a mapping and undoes it: its address space. */
export interface Unmapper {
  unmap: (mapping: DmaMapping) => Promise<void>;
  unmapSync: (mapping: DmaMapping) => void;
}

const nothing = { buffer: undefined };

/** Memory that devices reach at `iova`, until it is unmapped. Made by {@link Ioas.map}. */
export class DmaMapping {
  /** Where devices reach it. */
  readonly iova: bigint;
  /** In bytes. */
  readonly size: number;
  readonly #space: Unmapper;
  readonly #length: bigint;
  #mapped = true;
  #unmapping: Promise<void> | undefined;
  /** Whether a device was attached when, or since, it was mapped: then its pages are pinned. */
  #pinned: boolean;

  /** Whose memory it is. @internal */
  source: Pick<MappedSource, 'buffer'>;
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

  /** Whether it is mapped: not yet unmapped, by whatever call. */
  get mapped(): boolean {
    return this.#mapped;
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

  /** It is unmapped, or its address space is gone. @internal */
  settle(): void {
    this.#mapped = false;
    this.source = nothing;
    this.inSpace = undefined;
    this.inBuffer = undefined;
  }

  /**
   * Unmaps it (IOMMU_IOAS_UNMAP): when this resolves no device reaches the memory. Harmless where
   * it is unmapped already, or its address space is closed.
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

  [Symbol.dispose](): void {
    this.unmapSync();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.unmap();
  }
}
