import { invalidType, outOfRange, requireBytes } from '../core/arguments.ts';
import { checkIova } from '../core/iova.ts';
import { littleEndian } from '../core/structs.ts';

/**
 * Data of a kind that this library has no names for: the kernel's number of it, and its struct as
 * bytes.
 */
export interface OtherData {
  /** The number of its kind in linux/iommufd.h. */
  type: number;
  /** The kernel's struct. */
  data: Uint8Array;
}

/** What the kernel reads of one call at most, for us: no struct comes near it. */
const mostBytes = 1 << 16;

/** @throws TypeError, RangeError */
export function checkData({ data }: OtherData, name = 'data.data'): Uint8Array {
  requireBytes(name, data);
  if (data.length > 0 && data.length <= mostBytes) return data;
  throw outOfRange(`${name}.length`, `an integer from 1 to ${mostBytes}`, data.length);
}

/** So many numbers of 64 bits. @throws TypeError, RangeError */
export function checkLongs(name: string, value: unknown, count: number): bigint[] {
  if (!Array.isArray(value) || value.length !== count) {
    throw invalidType(name, `an array of ${count} bigints`, value);
  }
  return value.map((each: unknown, at) => checkIova(`${name}[${at}]`, each));
}

/**
 * Numbers of 64 bits as bytes. Hardware's own records are little-endian on every machine; of the
 * kernel's structs `words` says which of the numbers is one of 32 bits before another that is 0.
 */
export function longBytes(longs: readonly bigint[], words: readonly boolean[] = []): Uint8Array {
  const bytes = new Uint8Array(8 * longs.length);
  const view = new DataView(bytes.buffer);
  for (const [at, long] of longs.entries()) {
    if (words[at]) view.setUint32(8 * at, Number(long), littleEndian);
    else view.setBigUint64(8 * at, long, littleEndian);
  }
  return bytes;
}

/** The numbers of 64 bits in a record of the hardware's. */
export function longsOf(bytes: Uint8Array): bigint[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: Math.floor(bytes.length / 8) }, (_, at) =>
    view.getBigUint64(8 * at, littleEndian),
  );
}
