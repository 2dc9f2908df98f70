import { util } from './builtins.ts';
import { escapeControls } from './controls.ts';

/** A mistake in an argument, with the codes that Node's own functions use. */
export function invalidType(name: string, expected: string, value: unknown): TypeError {
  const message = `The "${name}" argument must be ${expected}. Received ${show(value)}`;
  return Object.assign(new TypeError(message), { code: 'ERR_INVALID_ARG_TYPE' });
}

/** As {@link invalidType}, for a value of the right type that says nothing usable. */
export function invalidValue(name: string, expected: string, value: unknown): TypeError {
  const message = `The "${name}" argument must be ${expected}. Received ${show(value)}`;
  return Object.assign(new TypeError(message), { code: 'ERR_INVALID_ARG_VALUE' });
}

/** As {@link invalidType}, for a number that is too small, too large or no integer. */
export function outOfRange(name: string, expected: string, value: unknown): RangeError {
  const message = `The value of "${name}" is out of range. It must be ${expected}. Received ${show(value)}`;
  return Object.assign(new RangeError(message), { code: 'ERR_OUT_OF_RANGE' });
}

/** @throws TypeError `ERR_INVALID_ARG_TYPE` for what has no options in it: null, an array, a number */
export function requireObject(name: string, value: unknown): void {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return;
  throw invalidType(name, 'an object', value);
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
export function requireFdNumber(name: string, value: unknown): void {
  const expected = `the number of an open descriptor, an integer from 0 to ${mostFd}`;
  if (typeof value !== 'number') throw invalidType(name, expected, value);
  if (Number.isInteger(value) && value >= 0 && value <= mostFd) return;
  throw outOfRange(name, expected, value);
}

/** What the value is, by no code of its own: that could throw, or say something else. */
function show(value: unknown): string {
  const options = { depth: 0, maxStringLength: 80, breakLength: Infinity, customInspect: false };
  return escapeControls(util.inspect(value, options));
}
