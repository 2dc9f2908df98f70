import { invalidType, outOfRange } from '../arguments.ts';

/** The widths of accesses, in bytes. */
export type Width = 1 | 2 | 4 | 8;

/**
 * Refuses a place that does not lie in a region of `size` bytes.
 *
 * @throws TypeError `ERR_INVALID_ARG_TYPE`; RangeError `ERR_OUT_OF_RANGE`
 */
export function checkRange(offset: unknown, length: number, size: number): void {
  const most = size - length;
  if (typeof offset === 'number' && Number.isInteger(offset) && offset >= 0 && offset <= most) {
    return;
  }
  const expected =
    most < 0
      ? `in a region of ${length} bytes at least; this one has ${size}`
      : `a whole number from 0 to ${most}`;
  throw typeof offset === 'number'
    ? outOfRange('offset', expected, offset)
    : invalidType('offset', expected, offset);
}

/** As {@link checkRange}, for an access of a register: it is naturally aligned. */
export function checkAccess(offset: unknown, width: Width, size: number): void {
  checkRange(offset, width, size);
  if ((offset as number) % width === 0) return;
  throw outOfRange('offset', `a multiple of ${width}`, offset);
}

/** @throws TypeError `ERR_INVALID_ARG_TYPE`; RangeError `ERR_OUT_OF_RANGE` */
export function checkLength(length: unknown): asserts length is number {
  const expected = 'a whole number of bytes, zero or more';
  if (typeof length !== 'number') throw invalidType('length', expected, length);
  if (Number.isSafeInteger(length) && length >= 0) return;
  throw outOfRange('length', expected, length);
}

/** @throws TypeError `ERR_INVALID_ARG_TYPE` */
export function checkBytes(bytes: unknown): asserts bytes is Uint8Array {
  if (!(bytes instanceof Uint8Array)) throw invalidType('bytes', 'a Uint8Array', bytes);
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
