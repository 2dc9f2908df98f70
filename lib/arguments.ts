import { inspect } from 'node:util';

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

function show(value: unknown): string {
  return inspect(value, { depth: 0, maxStringLength: 80, breakLength: Infinity });
}
