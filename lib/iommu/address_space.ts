import { invalidType, invalidValue, requireObject } from '../core/arguments.ts';
import { checkIova, type IovaRange } from '../core/iova.ts';
import type { DmaBuffer } from './dma_buffer.ts';
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

/** What devices may do with what is mapped, and where they find it. */
export interface MapOptions {
  /**
   * Where devices reach it; without it the kernel chooses (for a container this package), and never 0.
   */
  iova?: bigint | undefined;
  /** Whether devices may read it; true by default. */
  read?: boolean | undefined;
  /** Whether devices may write it; true by default. */
  write?: boolean | undefined;
  /** Of a DmaBuffer or a region, the first byte to map; 0 by default. A multiple of the page size. */
  offset?: number | undefined;
  /** Of a DmaBuffer or a region, how many bytes to map; all that follow by default. */
  length?: number | undefined;
}

/** The options that are the same for whatever is mapped. @throws TypeError, RangeError */
export function readMapOptions(options: MapOptions): {
  iova: bigint | undefined;
  read: boolean;
  write: boolean;
} {
  requireObject('options', options);
  const { iova, read = true, write = true } = options;
  if (typeof read !== 'boolean') throw invalidType('read', 'a boolean', read);
  if (typeof write !== 'boolean') throw invalidType('write', 'a boolean', write);
  if (!read && !write) throw invalidValue('read', 'true where write is false', read);
  return { iova: iova === undefined ? undefined : checkIova('iova', iova), read, write };
}
