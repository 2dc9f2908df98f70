import { invalidType, invalidValue } from '../arguments.ts';

/** What sun_path holds, without its NUL. */
const mostBytes = 107;

/** @throws TypeError */
export function checkPath(path: unknown): asserts path is string {
  const expected = `an absolute path of ${mostBytes} bytes at most`;
  if (typeof path !== 'string') throw invalidType('path', expected, path);
  const fits = path.startsWith('/') && !path.includes('\0') && Buffer.byteLength(path) <= mostBytes;
  if (!fits) throw invalidValue('path', expected, path);
}
