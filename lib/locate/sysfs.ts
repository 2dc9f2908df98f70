import { basename } from 'node:path';
import { type Answer, binding, type NativeFd } from '../core/binding.ts';
import { fs } from '../core/builtins.ts';
import { check } from '../core/call.ts';
import { EISDIR, ENODEV, ENOENT, ENOTDIR } from '../core/errno.ts';

// sysfs is memory: reading it does not wait for a device, so these are plain calls. Each answers
// undefined where the file is not there (any more); another error is the caller's to see.

/** An attribute's text without its newline. */
export function readAttribute(path: string): string | undefined {
  const text = binding().readSmallFile(path);
  if (typeof text === 'string') return text;
  if (!isMissing(text)) check(text, { syscall: attributeCall(path), path });
  return undefined;
}

/** Of the nodes that no device has: of iommufds, and of containers. */
export type MiscName = 'iommu' | 'vfio';

/** Their numbers as sysfs writes them; undefined where the kernel has none, or sysfs does not show them. */
export function miscNumbers(name: MiscName, sysfsRoot: string): string | undefined {
  return readAttribute(`${sysfsRoot}/class/misc/${name}/dev`);
}

/** The names in a folder. */
export function listNames(path: string): string[] | undefined {
  const names = binding().listFolder(path);
  if (typeof names === 'object') return names;
  if (!isMissing(names)) check(names, { syscall: 'open', path });
  return undefined;
}

/** The last part of where a link points: the name of a driver, a bus, a group. */
export function readLinkName(path: string): string | undefined {
  const text = readLinkText(path);
  return text === undefined ? undefined : basename(text);
}

/** Where a link points, as it is written. */
export function readLinkText(path: string): string | undefined {
  return undefinedIfMissing('readlink', path, () => fs.readlinkSync(path));
}

/** What one of Node's functions, which makes this system call, returns. */
export function undefinedIfMissing<T>(syscall: string, path: string, read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (!isSystemError(error)) throw error;
    if (!isMissing(error.errno)) check(error.errno, { syscall, path });
    return undefined;
  }
}

/** Which call it was that failed: an attribute may be there and open, and answer an error to its reader. */
export function attributeCall(path: string): 'open' | 'read' {
  const native = binding();
  const fd = native.open(path, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
  if (fd === undefined || fd < 0) return 'open';
  native.closeSync(fd as NativeFd);
  return 'read';
}

/** The file was open, or being opened, when its device went away. */
/** A folder of an attribute's name is no attribute: drivers of mdevs have one called `vendor`. */
const missing: readonly Answer[] = [ENOENT, ENODEV, ENOTDIR, EISDIR];

/** Whether an answer says that a file is not there. */
export function isMissing(answer: Answer): boolean {
  return missing.includes(answer);
}

/** An error of a system call, as Node throws it. */
export function isSystemError(error: unknown): error is Error & { errno: number } {
  return error instanceof Error && 'errno' in error && typeof error.errno === 'number';
}
