import { util } from './builtins.ts';
import { shown } from './shown.ts';

/** A mistake in an argument, with the codes that Node's own functions use. */
export function invalidType(name: string, expected: string, value: unknown): TypeError {
  const message = `The "${name}" argument must be ${expected}. Received ${shown(value)}`;
  return Object.assign(new TypeError(message), { code: 'ERR_INVALID_ARG_TYPE' });
}

/** Like {@link invalidType}, for a value of the right type that says nothing usable. */
export function invalidValue(name: string, expected: string, value: unknown): TypeError {
  const message = `The "${name}" argument must be ${expected}. Received ${shown(value)}`;
  return Object.assign(new TypeError(message), { code: 'ERR_INVALID_ARG_VALUE' });
}

/** Like {@link invalidType}, for a number that is too small, too large or no integer. */
export function outOfRange(name: string, expected: string, value: unknown): RangeError {
  const message = `The value of "${name}" is out of range. It must be ${expected}. Received ${shown(value)}`;
  return Object.assign(new RangeError(message), { code: 'ERR_OUT_OF_RANGE' });
}

/**
 * @throws TypeError `ERR_INVALID_ARG_TYPE` for what has no options in it: null, an array, a number
 */
export function requireObject(name: string, value: unknown): void {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return;
  throw invalidType(name, 'an object', value);
}

/**
 * What stands in an array now, each read once and by its number: an array's iterator, and what it
 * answers the next time, are the caller's.
 */
export function elementsOf(array: readonly unknown[], length: number = array.length): unknown[] {
  return Array.from({ length }, (_, at) => array[at]);
}

/** @throws TypeError `ERR_INVALID_ARG_TYPE` for what is there and neither true nor false */
export function requireBoolean(name: string, value: unknown): void {
  if (value === undefined || typeof value === 'boolean') return;
  throw invalidType(name, 'a boolean', value);
}

/** @throws TypeError `ERR_INVALID_ARG_TYPE`, for what only inherits from Uint8Array as well */
export function requireBytes(name: string, value: unknown): asserts value is Uint8Array {
  if (!util.types.isUint8Array(value)) throw invalidType(name, 'a Uint8Array', value);
}

const mostFd = 2 ** 31 - 1;

/** @throws TypeError `ERR_INVALID_ARG_TYPE`; RangeError `ERR_OUT_OF_RANGE` */
export function checkFdNumber(name: string, value: unknown): number {
  const expected = `the number of an open descriptor, an integer from 0 to ${mostFd}`;
  return checkInteger(name, value, 0, mostFd, expected);
}

const mostMilliseconds = 2 ** 31 - 1;

/** @throws TypeError `ERR_INVALID_ARG_TYPE`; RangeError `ERR_OUT_OF_RANGE` */
export function checkTimeout(timeout: unknown): void {
  const expected = `a number of milliseconds from 0 to ${mostMilliseconds}`;
  if (typeof timeout !== 'number') throw invalidType('timeout', expected, timeout);
  if (timeout >= 0 && timeout <= mostMilliseconds) return;
  throw outOfRange('timeout', expected, timeout);
}

/**
 * Takes signals of other realms too (a vm context, jsdom), which are no instances of this one's
 * class: what is asked of a signal is what Node's own functions ask.
 *
 * @throws TypeError `ERR_INVALID_ARG_TYPE`
 */
export function checkSignal(signal: unknown): void {
  if (signal === undefined || isSignal(signal)) return;
  throw invalidType('signal', 'an AbortSignal', signal);
}

function isSignal(signal: unknown): signal is AbortSignal {
  if (typeof signal !== 'object' || signal === null || !('aborted' in signal)) return false;
  const { addEventListener, removeEventListener } = signal as Partial<AbortSignal>;
  return typeof addEventListener === 'function' && typeof removeEventListener === 'function';
}

/** An unsigned number of 64 bits. @throws TypeError, RangeError */
export function checkUnsigned(name: string, value: unknown): bigint {
  const expected = 'an integer from 0 to 2^64 - 1';
  if (typeof value !== 'number' && typeof value !== 'bigint') {
    throw invalidType(name, expected, value);
  }
  if (typeof value === 'number' && !Number.isSafeInteger(value)) {
    throw outOfRange(name, expected, value);
  }
  const big = BigInt(value);
  if (big >= 0n && big < 1n << 64n) return big;
  throw outOfRange(name, expected, value);
}

/**
 * An integer from `least` to `most`, which `expected` says in other words.
 *
 * @throws TypeError `ERR_INVALID_ARG_TYPE`; RangeError `ERR_OUT_OF_RANGE`
 */
export function checkInteger(
  name: string,
  value: unknown,
  least: number,
  most: number,
  expected = `an integer from ${least} to ${most}`,
): number {
  if (typeof value !== 'number') throw invalidType(name, expected, value);
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw outOfRange(name, expected, value);
}

const mostId = 2 ** 32 - 1;

/** One of the kernel's ids and indexes of 32 bits. @throws TypeError, RangeError */
export function checkId(name: string, value: unknown, least = 0): number {
  return checkInteger(name, value, least, mostId);
}

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** The 16 bytes of a UUID in the order of its text, as the kernel's uuid_t has them. */
export function parseUuid(name: string, text: unknown): Uint8Array {
  const expected = 'a UUID, such as 8699b0f6-5c57-4d4e-a371-4f0e0d3b5f1c';
  if (typeof text !== 'string') throw invalidType(name, expected, text);
  if (!uuid.test(text)) throw invalidValue(name, expected, text);
  return Uint8Array.from(Buffer.from(text.replaceAll('-', ''), 'hex'));
}
