import { invalidType, invalidValue, requireObject } from '../arguments.ts';
import { checkIova } from './iova.ts';

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
