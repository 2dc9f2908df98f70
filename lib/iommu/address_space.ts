import type { DmaBuffer } from './dma_buffer.ts';
import type { IovaRange } from './iova.ts';
import type { MapOptions } from './map_options.ts';
import type { DmaMapping } from './mapping.ts';
import type { DmaFile } from './source.ts';

/**
 * What the devices attached to it can reach by DMA, and where: an {@link Ioas} of an iommufd, or a
 * {@link ContainerSpace}. What both have, so that a program need not know how its device was opened.
 */
export interface AddressSpace {
  /** What is mapped, as far as this object did it. */
  readonly mappings: DmaMapping[];
  /** What addresses, lengths and offsets have to be multiples of, as it is now. */
  readonly iovaAlignment: bigint;
  map(source: DmaBuffer | DmaFile, options?: MapOptions): Promise<DmaMapping>;
  mapSync(source: DmaBuffer | DmaFile, options?: MapOptions): DmaMapping;
  unsafeMapAddress(
    address: bigint,
    length: number,
    options?: Omit<MapOptions, 'offset' | 'length'>,
  ): Promise<DmaMapping>;
  unmap(iova: bigint, length: bigint): Promise<bigint>;
  unmapSync(iova: bigint, length: bigint): bigint;
  unmapAll(): Promise<bigint>;
  unmapAllSync(): bigint;
  iovaRanges(): IovaRange[];
  close(): Promise<void>;
  closeSync(): void;
  [Symbol.dispose](): void;
  [Symbol.asyncDispose](): Promise<void>;
}
