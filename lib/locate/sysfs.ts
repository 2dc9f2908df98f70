import { basename } from 'node:path';
import { type Answer, binding, type NativeFd } from '../core/binding.ts';
import { fs } from '../core/builtins.ts';
import { check } from '../core/call.ts';
import { EISDIR, ENODEV, ENOENT, ENOTDIR } from '../core/errno.ts';
import { systemError, VfioError } from '../core/errors.ts';
import type { DeviceAddress, Roots } from '../core/location.ts';
import type { Hidden } from '../core/messages.ts';

// sysfs is memory: reading it does not wait for a device, so these are plain calls. Each answers
// undefined where the file is not there (any more); another error is the caller's to see.

/** An attribute's text without its newline. */
export function readAttribute(path: string): string | undefined {
  const text = binding().readSmallFile(path);
  if (typeof text === 'string') return text;
  if (!isMissing(text)) check(text, { syscall: attributeCall(path), path });
  return undefined;
}

/** The names of the nodes for iommufds and for containers, which belong to no device. */
export type MiscName = 'iommu' | 'vfio';

/**
 * Their numbers as sysfs writes them; undefined where the kernel has none, or sysfs does not show
 * them.
 */
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

/** Does what one of Node's functions does; its errors become ours. */
export function attempt<T>(syscall: string, path: string, act: () => T): T {
  try {
    return act();
  } catch (error) {
    if (!isSystemError(error)) throw error;
    throw systemError({ errno: error.errno, syscall, path });
  }
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

/**
 * Which call it was that failed: an attribute may be there and open, and answer an error to its
 * reader.
 */
export function attributeCall(path: string): 'open' | 'read' {
  const native = binding();
  const fd = native.open(path, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
  if (fd === undefined || fd < 0) return 'open';
  native.closeSync(fd as NativeFd);
  return 'read';
}

/**
 * ENODEV: the file was open, or being opened, when its device went away. EISDIR: a folder of an
 * attribute's name is no attribute; drivers of mdevs have one called `vendor`.
 */
const missing: readonly Answer[] = [ENOENT, ENODEV, ENOTDIR, EISDIR];

/** Whether an answer says that a file is not there. */
export function isMissing(answer: Answer): boolean {
  return missing.includes(answer);
}

/** An error of a system call, as Node throws it. */
export function isSystemError(error: unknown): error is Error & { errno: number } {
  return error instanceof Error && 'errno' in error && typeof error.errno === 'number';
}

/** Whether a folder is hidden that is never empty. */
export function hiddenFolder(path: string): Hidden | undefined {
  try {
    const names = listNames(path);
    return names === undefined || names.length === 0 ? { path, code: 'ENOENT' } : undefined;
  } catch (error) {
    if (error instanceof VfioError) return { path, code: error.code };
    throw error;
  }
}

/** Whether sysfs as a whole is hidden: in a container without it. */
function hiddenSysfs({ sysfsRoot }: Roots): Hidden | undefined {
  return hiddenFolder(sysfsRoot || '/') ?? hiddenFolder(`${sysfsRoot}/bus`);
}

/**
 * Whether sysfs hides its classes, in which each kind of device has its nodes, disks and
 * interfaces.
 */
export function hiddenClasses(roots: Roots): Hidden | undefined {
  return hiddenSysfs(roots) ?? hiddenFolder(`${roots.sysfsRoot}/class`);
}

/** Whether the class of nodes without a device is hidden, of which every kernel has some. */
export function hiddenMisc(roots: Roots): Hidden | undefined {
  return hiddenClasses(roots) ?? hiddenFolder(`${roots.sysfsRoot}/class/misc`);
}

/**
 * What keeps this process from saying that a device is not there: that its kernel has none of this
 * address is certain only where sysfs shows the bus, and shows no such device on it.
 */
export function hiddenDevice({ bus, address }: DeviceAddress, roots: Roots): Hidden | undefined {
  const hidden = hiddenSysfs(roots);
  if (hidden) return hidden;
  const folder = `${roots.sysfsRoot}/bus/${bus}`;
  // A bus that the kernel does not have is no folder, one that is mounted over is an empty one.
  if (listNames(folder) === undefined) return undefined;
  const devices = `${folder}/devices`;
  const names = listNames(devices);
  if (names === undefined) return { path: devices, code: 'ENOENT' };
  // Its link is there, and leads nowhere here.
  if (names.includes(address)) return { path: `${devices}/${address}`, code: 'ENOENT' };
  return undefined;
}

/** Whether that part of sysfs is hidden which tells whose a node's numbers are. */
export function hiddenNumbers({ sysfsRoot }: Roots): Hidden | undefined {
  return hiddenFolder(sysfsRoot || '/') ?? hiddenFolder(`${sysfsRoot}/dev/char`);
}
