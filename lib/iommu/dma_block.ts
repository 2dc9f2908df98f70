import type { VfioError } from '../core/errors.ts';
import { defineInspect } from '../core/inspect_handle.ts';
import { DmaSpan } from './dma_span.ts';
import type { DmaMapping } from './mapping.ts';

/** A small piece of DMA memory, where JavaScript and where devices see it. Made by a DmaPool. */
export class DmaBlock extends DmaSpan {
  /** Its bytes; detached when its pool is closed. */
  readonly bytes: Uint8Array;
  readonly #mapping: DmaMapping;
  #released = false;

  static {
    defineInspect(this, 'DmaBlock', (block) => {
      const isMapped = !block.#released && block.#mapping.mapped;
      return { iova: block.iova, size: block.size, state: isMapped ? 'mapped' : 'unmapped' };
    });
  }

  private constructor(mapping: DmaMapping, iova: bigint, bytes: Uint8Array) {
    super(iova, bytes.length);
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

  /** Why it is not this program's. @internal */
  override unmappedError(): VfioError {
    return this.#released ? super.unmappedError() : this.#mapping.unmappedError();
  }

  /** It was given back. @internal */
  settle(): void {
    this.#released = true;
  }
}
