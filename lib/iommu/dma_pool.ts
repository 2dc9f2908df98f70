import { invalidType, outOfRange } from '../core/arguments.ts';
import { binding } from '../core/binding.ts';
import { Closable } from '../core/closable.ts';
import { VfioError } from '../core/errors.ts';
import { defineInspect } from '../core/inspect_handle.ts';
import { checkAlignment, checkLength } from '../core/iova.ts';
import { type SharedToken, tokenOf } from '../core/shared_token.ts';
import {
  closeAndThrow,
  closeSyncAndThrow,
  closing,
  type HasClose,
  run,
  runSync,
  type Steps,
  withAll,
} from '../core/steps.ts';
import { AddressSpace } from './address_space.ts';
import { DmaBlock } from './dma_block.ts';
import { checkBufferOptions, DmaBuffer, type DmaBufferOptions } from './dma_buffer.ts';
import { IovaAllocator } from './iova_allocator.ts';
import type { DmaMapping } from './mapping.ts';

/** How large a pool's chunks are, and which pages they have. */
export interface DmaPoolOptions extends DmaBufferOptions {
  /** How many bytes to map at a time, unless a block needs more; 64 KiB by default. */
  chunkSize?: number | undefined;
}

interface Chunk {
  buffer: DmaBuffer;
  mapping: DmaMapping;
  free: IovaAllocator;
}

/** Blocks are multiples of this: a cache line, which no two of them share. */
const granule = 64n;

/** What is wanted of a block. */
interface Wanted {
  size: number;
  alignment: bigint;
}

/**
 * Hands out pieces of DMA memory, mapped a chunk at a time: descriptors, completion words, what is
 * not worth a page and a system call of its own.
 */
export class DmaPool extends Closable {
  readonly #ioas: AddressSpace;
  readonly #chunkSize: number;
  readonly #options: DmaBufferOptions;
  #chunks: Chunk[] = [];
  #growing: Promise<Chunk> | undefined;
  #closed = false;
  /** Closed with it. */
  #own: HasClose | undefined;

  static {
    defineInspect(this, 'DmaPool', (pool) => ({
      chunkSize: pool.#chunkSize,
      chunks: pool.#chunks.length,
    }));
  }

  /**
   * @param ioas - where the chunks are mapped
   * @throws TypeError, RangeError
   */
  constructor(ioas: AddressSpace, options: DmaPoolOptions = {}) {
    super();
    if (!AddressSpace.isAddressSpace(ioas)) throw invalidType('ioas', 'an address space', ioas);
    checkBufferOptions(options);
    const { chunkSize = 65536, ...ofBuffers } = options;
    this.#ioas = ioas;
    this.#chunkSize = checkLength('chunkSize', chunkSize);
    this.#options = ofBuffers;
  }

  /** One over an address space of its own, which is closed with it. @internal */
  static adoptShared(ioas: AddressSpace, options: DmaPoolOptions): DmaPool {
    const pool = new DmaPool(ioas, options);
    pool.#own = ioas;
    return pool;
  }

  /**
   * A token by which another thread of this process gets a pool over the same address space:
   * {@link fromShared}. Each maps chunks of its own, so that neither waits for the other; blocks go
   * back to the pool that they are of, and closing the one takes nothing from the other.
   *
   * @throws VfioError `ERR_VFIO_CLOSED`
   */
  share(): SharedToken<'dma-pool'> {
    this.#checkOpen();
    const { hugePages = false, populate = false } = this.#options;
    const [space, chunkSize] = [this.#ioas.share(), this.#chunkSize];
    return tokenOf('dma-pool', { space, chunkSize, hugePages, populate });
  }

  /**
   * A block of so many bytes, zeroed where nobody had it before. Where the chunks there are have no
   * room, another is mapped, as large as it has to be; a block lies in one chunk.
   *
   * @param size - in bytes
   * @param alignment - a power of two of which its `iova` is a multiple, 64 at least. One above the
   *   page size takes so much more memory, which later blocks get.
   * @throws TypeError, RangeError
   * @throws VfioError what {@link DmaBuffer.allocate} and {@link Ioas.map} throw; `ERR_VFIO_CLOSED`
   */
  async allocate(size: number, alignment: bigint = granule): Promise<DmaBlock> {
    const wanted = checkWanted(size, alignment);
    for (;;) {
      const block = this.#find(wanted);
      if (block) return block;
      const room = this.#roomFor(wanted);
      if (room > this.#chunkSize) return this.#blockOf(await this.#grow(room), wanted);
      // One chunk for all who wait; who finds none left tries again.
      this.#growing ??= this.#grow(room).finally(() => {
        this.#growing = undefined;
      });
      await this.#growing;
    }
  }

  /** The blocking form of {@link allocate}. */
  allocateSync(size: number, alignment: bigint = granule): DmaBlock {
    const wanted = checkWanted(size, alignment);
    const block = this.#find(wanted);
    if (block) return block;
    const buffer = DmaBuffer.allocateSync(this.#roomFor(wanted), this.#options);
    try {
      return this.#blockOf(this.#add(buffer, this.#ioas.mapSync(buffer)), wanted);
    } catch (error) {
      closeSyncAndThrow(error, () => {
        buffer.disposeSync();
      });
    }
  }

  /**
   * Gives a block back: its bytes may become another's.
   *
   * @throws TypeError for what is no block; RangeError for one of another pool, and for one that
   *   was given back
   */
  release(block: DmaBlock): void {
    const mapping = DmaBlock.mappingOf(block);
    if (!mapping) throw invalidType('block', 'what allocate() answered', block);
    const chunk = this.#chunks.find((each) => each.mapping === mapping);
    if (!chunk) throw outOfRange('block', 'of this pool', block);
    if (!block.mapped) throw outOfRange('block', 'one that was not given back', block);
    block.settle();
    chunk.free.release(block.iova);
  }

  /**
   * Disposes of all chunks, and with them of all blocks. Harmless where it is closed.
   *
   * @throws VfioError what {@link DmaMapping.unmap} throws; AggregateError where several do.
   *   Closing it again tries those again
   */
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
    yield* closing(this.#own);
  }

  #find({ size, alignment }: Wanted): DmaBlock | undefined {
    this.#checkOpen();
    for (const { mapping, free } of this.#chunks) {
      // Somebody unmapped it: mapping another says why, or serves.
      if (!mapping.mapped) continue;
      const iova = allocateIn(free, size, alignment);
      if (iova !== undefined) return DmaBlock.of(mapping, iova, size);
    }
    return undefined;
  }

  /** How large a chunk has to be: mapped anywhere, by whole pages, it has the block. */
  #roomFor({ size, alignment }: Wanted): number {
    const page = BigInt(binding().pageSize());
    const extra = alignment > page ? alignment - page : 0n;
    return Math.max(this.#chunkSize, checkLength('size', size + Number(extra)));
  }

  #blockOf({ mapping, free }: Chunk, { size, alignment }: Wanted): DmaBlock {
    return DmaBlock.of(mapping, free.allocate(size, { alignment }), size);
  }

  async #grow(size: number): Promise<Chunk> {
    const buffer = await DmaBuffer.allocate(size, this.#options);
    try {
      const mapping = await this.#ioas.map(buffer);
      this.#checkOpen();
      return this.#add(buffer, mapping);
    } catch (error) {
      return await closeAndThrow(error, () => buffer.dispose());
    }
  }

  #add(buffer: DmaBuffer, mapping: DmaMapping): Chunk {
    const { iova, bytes } = mapping;
    const range = { start: iova, last: iova + BigInt(bytes.length) - 1n };
    const chunk = { buffer, mapping, free: new IovaAllocator([range], granule) };
    this.#chunks.push(chunk);
    return chunk;
  }

  #checkOpen(): void {
    if (!this.#closed) return;
    throw new VfioError({ code: 'ERR_VFIO_CLOSED', message: 'the DMA pool is closed' });
  }
}

function checkWanted(size: number, alignment: bigint): Wanted {
  checkLength('size', size);
  if (checkAlignment('alignment', alignment) > 2n ** 52n) {
    throw outOfRange('alignment', '2n ** 52n at most', alignment);
  }
  return { size, alignment };
}

/** The lowest free address; undefined where there is no room. */
function allocateIn(free: IovaAllocator, size: number, alignment: bigint): bigint | undefined {
  try {
    return free.allocate(size, { alignment });
  } catch (error) {
    if (error instanceof VfioError && error.code === 'ENOSPC') return undefined;
    throw error;
  }
}
