import { invalidType, outOfRange } from '../arguments.ts';
import { VfioError } from '../errors.ts';
import { DmaBuffer, type DmaBufferOptions } from './dma_buffer.ts';
import { Ioas } from './ioas.ts';
import { IovaAllocator } from './iova_allocator.ts';
import { checkAlignment, checkLength } from './iova.ts';
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
 * Hands out small pieces of DMA memory, mapped a chunk at a time: descriptors, completion words, what
 * is not worth a page and a system call of its own.
 */
export class DmaPool {
  readonly #ioas: Ioas;
  readonly #chunkSize: number;
  readonly #options: DmaBufferOptions;
  #chunks: Chunk[] = [];
  #closed = false;

  /** @throws TypeError, RangeError */
  constructor(ioas: Ioas, { chunkSize = 65536, ...options }: DmaPoolOptions = {}) {
    if (!(ioas instanceof Ioas)) throw invalidType('ioas', 'an Ioas', ioas);
    this.#ioas = ioas;
    this.#chunkSize = checkLength('chunkSize', chunkSize);
    this.#options = options;
  }

  /**
   * A block of at least so many bytes, zeroed when its chunk was new. Blocks while a chunk is mapped,
   * which happens when the chunks there are have no room.
   *
   * @param alignment a power of two of which its `iova` is a multiple, at most the page size
   * @throws TypeError, RangeError
   * @throws VfioError what {@link DmaBuffer.allocate} and {@link Ioas.map} throw; `ERR_VFIO_CLOSED`
   */
  allocate(size: number, alignment: bigint = granule): DmaBlock {
    this.#checkOpen();
    if (checkLength('size', size) > this.#chunkSize) {
      throw outOfRange('size', `${this.#chunkSize} at most, the pool's chunk size`, size);
    }
    if (checkAlignment('alignment', alignment) > 4096n) {
      throw outOfRange('alignment', '4096n at most', alignment);
    }
    for (const chunk of this.#chunks) {
      const block = blockIn(chunk, size, alignment);
      if (block) return block;
    }
    const chunk = this.#grow();
    const block = blockIn(chunk, size, alignment);
    if (block) return block;
    throw new Error('vfio: a new chunk has no room for a block that is not larger');
  }

  /**
   * Gives a block back: its bytes may become another's.
   *
   * @throws TypeError; RangeError for what is no block of this pool
   */
  release({ iova }: DmaBlock): void {
    const chunk = this.#chunks.find(({ mapping }) => {
      return mapping.iova <= iova && iova < mapping.iova + BigInt(mapping.size);
    });
    if (!chunk) throw outOfRange('block', 'one of this pool', iova);
    chunk.free.release(iova);
  }

  /** Disposes of all chunks, and with them of all blocks. Harmless where it is closed. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const { buffer } of this.#chunks) await buffer.dispose();
    this.#chunks = [];
  }

  /** As {@link close}, blocking. */
  closeSync(): void {
    this.#closed = true;
    for (const { buffer } of this.#chunks) buffer.disposeSync();
    this.#chunks = [];
  }

  [Symbol.dispose](): void {
    this.closeSync();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #grow(): Chunk {
    const buffer = DmaBuffer.allocateSync(this.#chunkSize, this.#options);
    const mapping = this.#ioas.mapSync(buffer);
    const { iova } = mapping;
    const range = { start: iova, last: iova + BigInt(mapping.size) - 1n };
    const chunk = { buffer, mapping, free: new IovaAllocator([range], granule) };
    this.#chunks.push(chunk);
    return chunk;
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
