import { checkInteger, invalidType, outOfRange } from '../core/arguments.ts';
import { counted } from '../core/counted.ts';

/** The widths of accesses, in bytes. */
export type Width = 1 | 2 | 4 | 8;

/**
 * Refuses a place that does not lie in a region of `size` bytes. `name` is what the errors call it.
 *
 * @throws TypeError `ERR_INVALID_ARG_TYPE`; RangeError `ERR_OUT_OF_RANGE`
 */
export function checkRange(offset: unknown, length: number, size: number, name = 'offset'): void {
  const most = size - length;
  if (typeof offset === 'number' && Number.isInteger(offset) && offset >= 0 && offset <= most) {
    return;
  }
  const expected =
    most < 0
      ? `in a region of ${counted(length, 'byte')} at least; this one has ${size}`
      : `a whole number from 0 to ${most}`;
  throw typeof offset === 'number'
    ? outOfRange(name, expected, offset)
    : invalidType(name, expected, offset);
}

/** A region, or the part of one that is mapped. */
export interface Extent {
  size: number;
  /** Where the part starts in the region, which counts for what is aligned. */
  start: number;
}

/** Like {@link checkRange}, for an access of a register: it is naturally aligned in the region. */
export function checkAccess(
  offset: unknown,
  width: Width,
  { size, start }: Extent,
  name = 'offset',
): void {
  checkRange(offset, width, size, name);
  checkAligned(offset as number, width, start, name);
}

/** Like {@link checkRange}, for eight bytes that are reached by two accesses of four. */
export function checkHalves(offset: unknown, { size, start }: Extent): void {
  checkRange(offset, 8, size);
  checkAligned(offset as number, 4, start, 'offset');
}

/** @throws RangeError for an offset from `start` on that is not aligned */
export function checkAligned(offset: number, to: number, start: number, name: string): void {
  if ((start + offset) % to === 0) return;
  const [multiple, from] = [`a multiple of ${to}`, `0x${start.toString(16)}`];
  const expected =
    start % to === 0
      ? multiple
      : `${multiple} with where the mapping starts in the region (${from})`;
  throw outOfRange(name, expected, offset);
}

/**
 * A number of bytes of a region of `size`.
 *
 * @throws TypeError `ERR_INVALID_ARG_TYPE`; RangeError `ERR_OUT_OF_RANGE`
 */
export function checkLength(name: string, length: unknown, least: number, size: number): void {
  const expected = `a whole number of bytes from ${least} to ${size}`;
  checkInteger(name, length, least, size, expected);
}

/** A value that a register of `width` bytes can hold, as {@link Region} and others take it. */
export function checkValue(value: unknown, width: Width): void {
  const most = 256n ** BigInt(width) - 1n;
  const type = width === 8 ? 'bigint' : 'number';
  const expected = `a ${width === 8 ? 'bigint' : 'whole number'} from 0 to 0x${most.toString(16)}`;
  if (typeof value !== type) throw invalidType('value', expected, value);
  const fits = typeof value === 'bigint' || Number.isInteger(value);
  if (fits && (value as number) >= 0 && (value as number) <= most) return;
  throw outOfRange('value', expected, value);
}
