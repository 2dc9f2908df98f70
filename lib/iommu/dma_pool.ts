import { invalidType, outOfRange, requireObject } from '../core/arguments.ts';
import { Closable } from '../core/closable.ts';
import { VfioError } from '../core/errors.ts';
import { defineInspect } from '../core/inspect_handle.ts';
import { checkAlignment, checkIova, checkLength } from '../core/iova.ts';
import {
  closeAndThrow,
  closeSyncAndThrow,
  run,
  runSync,
  type Steps,
  withAll,
} from '../core/steps.ts';
import { AddressSpace } from './address_space.ts';
import { checkBufferOptions, DmaBuffer, type DmaBufferOptions } from './dma_buffer.ts';
import { IovaAllocator } from './iova_allocator.ts';
import type { DmaMapping } from './mapping.ts';

export interface DmaPoolOptions extends DmaBufferOptions {
  /** How many bytes to map at a time; 64 KiB by default. */
  chunkSize?: number | undefined;
}

/** A small piece of DMA memory, where JavaScript and where devices see it. */
export interface DmaBlock {
  bytes: Uint8Array;
  iova: bigint;
  size: number;
}

interface Chunk {
  buffer: DmaBuffer;
  mapping: DmaMapping;
  free: IovaAllocator;
}

/** Blocks are multiples of this: a cache line, which no two of them share. */
const granule = 64n;

/**
 * Hands out small pieces of DMA memory, mapped a chunk at a time: descriptors, completion words,
 * what is not worth a page and a system call of its own.
 */
export class DmaPool extends Closable {
  readonly #ioas: AddressSpace;
  readonly #chunkSize: number;
  readonly #options: DmaBufferOptions;
  #chunks: Chunk[] = [];
  #growing: Promise<void> | undefined;
  #closed = false;

  /** @throws TypeError, RangeError */
  static {
    defineInspect(this, 'DmaPool', (pool) => ({
      chunkSize: pool.#chunkSize,
      chunks: pool.#chunks.length,
    }));
  }

  constructor(ioas: AddressSpace, options: DmaPoolOptions = {}) {
    super();
    if (!AddressSpace.isAddressSpace(ioas)) throw invalidType('ioas', 'an address space', ioas);
    checkBufferOptions(options);
    const { chunkSize = 65536, ...ofBuffers } = options;
    this.#ioas = ioas;
    this.#chunkSize = checkLength('chunkSize', chunkSize);
    this.#options = ofBuffers;
  }

  /**
   * A block of at least so many bytes, zeroed where it was never given back. Where the chunks there
   * are have no room, another is mapped; a block lies in one chunk.
   *
   * @param size - `chunkSize` at most
   * @param alignment - a power of two of which its `iova` is a multiple, 4,096 at most
   * @throws TypeError; RangeError also for more than `chunkSize`
   * @throws VfioError what {@link DmaBuffer.allocate} and {@link Ioas.map} throw; `ERR_VFIO_CLOSED`
   */
  async allocate(size: number, alignment: bigint = granule): Promise<DmaBlock> {
    for (;;) {
      const block = this.#find(size, alignment);
      if (block) return block;
      // One chunk for all who wait; who finds none left tries again.
      this.#growing ??= this.#grow().finally(() => {
        this.#growing = undefined;
      });
      await this.#growing;
    }
  }

  /** The blocking form of {@link allocate}. */
  allocateSync(size: number, alignment: bigint = granule): DmaBlock {
    for (;;) {
      const block = this.#find(size, alignment);
      if (block) return block;
      const buffer = DmaBuffer.allocateSync(this.#chunkSize, this.#options);
      try {
        this.#add(buffer, this.#ioas.mapSync(buffer));
      } catch (error) {
        closeSyncAndThrow(error, () => {
          buffer.disposeSync();
        });
      }
    }
  }

  /**
   * Gives a block back: its bytes may become another's.
   *
   * @throws TypeError; RangeError for what is no block of this pool
   */
  release(block: DmaBlock): void {
    requireObject('block', block);
    const iova = checkIova('block.iova', block.iova);
    const chunk = this.#chunks.find(({ mapping }) => {
      return mapping.iova <= iova && iova < mapping.iova + BigInt(mapping.size);
    });
    if (!chunk) throw outOfRange('block.iova', 'that of a block of this pool', iova);
    chunk.free.release(iova);
  }

  /** Disposes of all chunks, and with them of all blocks. Harmless where it is closed. */
  async close(): Promise<void> {
    await run(this.#close());
  }

  /** The blocking form of {@link close}. */
  closeSync(): void {
    runSync(this.#close());
  }

  *#close(): Steps<void> {
    this.#closed = true;
    yield* withAll(
      this.#chunks,
      ({ buffer }) => buffer.dispose(),
      ({ buffer }) => {
        buffer.disposeSync();
      },
    );
    this.#chunks = [];
  }

  #find(size: number, alignment: bigint): DmaBlock | undefined {
    this.#checkOpen();
    if (checkLength('size', size) > this.#chunkSize) {
      throw outOfRange(
        'size',
        `${this.#chunkSize} at most: a block lies in one chunk, and the pool's chunkSize is that`,
        size,
      );
    }
    if (checkAlignment('alignment', alignment) > 4096n) {
      throw outOfRange('alignment', '4096n at most', alignment);
    }
    for (const chunk of this.#chunks) {
      const block = blockIn(chunk, size, alignment);
      if (block) return block;
    }
    return undefined;
  }

  async #grow(): Promise<void> {
    const buffer = await DmaBuffer.allocate(this.#chunkSize, this.#options);
    try {
      const mapping = await this.#ioas.map(buffer);
      if (!this.#closed) this.#add(buffer, mapping);
    } catch (error) {
      await closeAndThrow(error, () => buffer.dispose());
    }
    if (this.#closed) await buffer.dispose();
  }

  #add(buffer: DmaBuffer, mapping: DmaMapping): void {
    const { iova } = mapping;
    const range = { start: iova, last: iova + BigInt(mapping.size) - 1n };
    this.#chunks.push({ buffer, mapping, free: new IovaAllocator([range], granule) });
  }

  #checkOpen(): void {
    if (!this.#closed) return;
    throw new VfioError({ code: 'ERR_VFIO_CLOSED', message: 'the DMA pool is closed' });
  }
}

function blockIn(
  { buffer, mapping, free }: Chunk,
  size: number,
  alignment: bigint,
): DmaBlock | undefined {
  try {
    const iova = free.allocate(size, { alignment });
    const bytes = new Uint8Array(buffer.buffer, Number(iova - mapping.iova), size);
    return { bytes, iova, size };
  } catch (error) {
    if (error instanceof VfioError && error.code === 'ENOSPC') return undefined;
    throw error;
  }
}
