import { checkInteger, elementsOf, invalidType, outOfRange, requireObject } from './arguments.ts';
import { counted } from './counted.ts';

/** A range of I/O virtual addresses, both ends included, as the kernel has them. */
export interface IovaRange {
  /** The first address. */
  start: bigint;
  /** The last address, which is in it. */
  last: bigint;
}

/** The last address of all. */
export const lastIova: bigint = 2n ** 64n - 1n;

/** @throws TypeError, RangeError */
export function checkIova(name: string, value: unknown): bigint {
  if (typeof value !== 'bigint') throw invalidType(name, 'a bigint', value);
  if (value >= 0n && value <= lastIova) return value;
  throw outOfRange(name, 'from 0 to 2n ** 64n - 1n', value);
}

/** That `length` bytes from `start` on do not reach beyond the last address. @throws RangeError */
export function checkEnd(name: string, start: bigint, length: bigint): void {
  if (start + length <= lastIova + 1n) return;
  const expected = `${lastIova + 1n - length}n at most, since ${counted(length, 'byte has', 'bytes have')} from there to end at 2n ** 64n`;
  throw outOfRange(name, expected, start);
}

/** A length in bytes, 1 and more. @throws TypeError, RangeError */
export function checkLength(name: string, value: unknown): number {
  return checkAtLeast(name, value, 1);
}

/** An offset in bytes. @throws TypeError, RangeError */
export function checkOffset(name: string, value: unknown): number {
  return checkAtLeast(name, value, 0);
}

function checkAtLeast(name: string, value: unknown, least: number): number {
  const expected = `a number of bytes, an integer from ${least} to 2 ** 53 - 1`;
  return checkInteger(name, value, least, Number.MAX_SAFE_INTEGER, expected);
}

/** @throws TypeError, RangeError */
export function checkRanges(name: string, value: unknown): readonly IovaRange[] {
  if (!Array.isArray(value)) throw invalidType(name, 'an array of { start, last }', value);
  return elementsOf(value).map((range, at) => {
    requireObject(`${name}[${at}]`, range);
    const given = range as Partial<IovaRange>;
    const start = checkIova(`${name}[${at}].start`, given.start);
    const last = checkIova(`${name}[${at}].last`, given.last);
    if (last < start) throw outOfRange(`${name}[${at}].last`, `${start} or more`, last);
    return { start, last };
  });
}

/** A power of two. @throws TypeError, RangeError */
export function checkAlignment(name: string, value: unknown): bigint {
  const alignment = checkIova(name, value);
  if (alignment > 0n && (alignment & (alignment - 1n)) === 0n) return alignment;
  throw outOfRange(name, 'a power of two', value);
}
