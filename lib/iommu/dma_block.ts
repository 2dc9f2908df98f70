import { defineInspect } from '../core/inspect_handle.ts';
import { makeUncloneable } from '../core/uncloneable.ts';
import { type DmaSpan, SpanAddresses, unmappedError } from './dma_span.ts';
import type { DmaMapping } from './mapping.ts';

/** A small piece of DMA memory, where JavaScript and where devices see it. Made by a DmaPool. */
export class DmaBlock implements DmaSpan {
  /** Where devices reach it. */
  readonly iova: bigint;
  /** In bytes. */
  readonly size: number;
  /** Its bytes; detached when its pool is closed. */
  readonly bytes: Uint8Array;
  readonly #mapping: DmaMapping;
  readonly #addresses: SpanAddresses;
  #released = false;

  static {
    defineInspect(this, 'DmaBlock', (block) => {
      const isMapped = !block.#released && block.#mapping.mapped;
      return { iova: block.iova, size: block.size, state: isMapped ? 'mapped' : 'unmapped' };
    });
  }

  private constructor(mapping: DmaMapping, iova: bigint, bytes: Uint8Array) {
    makeUncloneable(this);
    this.iova = iova;
    this.size = bytes.length;
    this.#addresses = new SpanAddresses(iova, bytes.length);
    this.bytes = bytes;
    this.#mapping = mapping;
  }

  /** A part of what is mapped. @internal */
  static of(mapping: DmaMapping, iova: bigint, size: number): DmaBlock {
    const start = Number(iova - mapping.iova);
    return new DmaBlock(mapping, iova, mapping.bytes.subarray(start, start + size));
  }

  /** The mapping that it is a part of; undefined for what is no block. @internal */
  static mappingOf(value: unknown): DmaMapping | undefined {
    const isBlock = typeof value === 'object' && value !== null && #mapping in value;
    return isBlock ? value.#mapping : undefined;
  }

  /** Whether it is this program's still: neither given back nor unmapped with its pool. */
  get mapped(): boolean {
    return !this.#released && this.#mapping.mapped;
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

  #at(): SpanAddresses {
    if (this.mapped) return this.#addresses;
    throw this.#released ? unmappedError(this.iova) : this.#mapping.unmappedError();
  }

  /** It was given back. @internal */
  settle(): void {
    this.#released = true;
  }
}
