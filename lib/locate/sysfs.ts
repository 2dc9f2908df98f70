import { basename } from 'node:path';
import { binding, type Answer } from '../binding.ts';
import { fs } from '../builtins.ts';
import { check } from '../call.ts';

// sysfs is memory: reading it does not wait for a device, so these are plain calls. Each answers
// undefined where the file is not there (any more); another error is the caller's to see.

/** An attribute's text without its newline. */
export function readAttribute(path: string): string | undefined {
  const text = binding().readSmallFile(path);
  if (typeof text === 'string') return text;
  requireMissing(text, path);
  return undefined;
}

/** The names in a folder. */
export function listNames(path: string): string[] | undefined {
  const names = binding().listFolder(path);
  if (typeof names === 'object') return names;
  requireMissing(names, path);
  return undefined;
}

/** The last part of where a link points: the name of a driver, a bus, a group. */
export function readLinkName(path: string): string | undefined {
  const text = readLinkText(path);
  return text === undefined ? undefined : basename(text);
}

/** Where a link points, as it is written. */
export function readLinkText(path: string): string | undefined {
  return undefinedIfMissing(path, () => fs.readlinkSync(path));
}

/** What one of Node's functions returns. */
export function undefinedIfMissing<T>(path: string, read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (!isSystemError(error)) throw error;
    requireMissing(error.errno, path);
    return undefined;
  }
}

const ENOENT = -2;
/** The file was open, or being opened, when its device went away. */
const ENODEV = -19;
const ENOTDIR = -20;
/** A folder of an attribute's name is no attribute: drivers of mdevs have one called `vendor`. */
const EISDIR = -21;
const missing: readonly Answer[] = [ENOENT, ENODEV, ENOTDIR, EISDIR];

/** Whether an answer says that a file is not there. */
export function isMissing(answer: Answer): boolean {
  return missing.includes(answer);
}

/** Throws where a file could not be read for another reason than that it is not there. */
export function requireMissing(answer: Answer, path: string): void {
  if (isMissing(answer)) return;
  check(answer, { syscall: 'open', path });
}

/** An error of a system call, as Node throws it. */
export function isSystemError(error: unknown): error is Error & { errno: number } {
  return error instanceof Error && 'errno' in error && typeof error.errno === 'number';
}
