import { invalidType, invalidValue } from '../core/arguments.ts';
import type { ErrnoName } from '../core/errors.ts';

// What the fake kernel refuses, as -errno, where lib/core/errno.ts does not have it: nobody else
// asks for these.
export const EFAULT = -14;
export const EEXIST = -17;
export const EOVERFLOW = -75;
export const EBADFD = -77;
export const EADDRINUSE = -98;

/** MAX_ERRNO of the kernel's. */
const mostErrno = 4095;

/** `-errno` of a name. @throws TypeError for one that Linux does not have */
export function errnoOf(name: ErrnoName): number {
  if (typeof name !== 'string') throw invalidType('errno', 'a string', name);
  if (name === 'EBADFD') return EBADFD;
  const { errno } = process.getBuiltinModule('node:os').constants;
  const number = (errno as Partial<Record<string, number>>)[name] ?? numbered(name);
  if (number !== undefined) return -number;
  throw invalidValue('errno', 'the name of an errno of Linux, such as EBUSY', name);
}

/** Names such as E524, of errors that nobody gave one. */
function numbered(name: string): number | undefined {
  const digits = /^E(\d{1,4})$/.exec(name)?.[1];
  const number = Number(digits);
  return number >= 1 && number <= mostErrno ? number : undefined;
}
