import type { BigIntStats } from 'node:fs';
import { basename } from 'node:path';
import { checkFdNumber } from '../core/arguments.ts';
import { fs } from '../core/builtins.ts';
import { systemError, VfioError } from '../core/errors.ts';
import type { DeviceAddress, DeviceSpec, Roots } from '../core/location.ts';
import { hiddenText } from '../core/messages.ts';
import { canonicalOn, parseAddress } from './address.ts';
import { isCdevName, type ParsedPath, parsePath } from './path.ts';
import { refuseShortName } from './short_name.ts';
import {
  hiddenNumbers,
  isSystemError,
  readLinkName,
  readLinkText,
  undefinedIfMissing,
} from './sysfs.ts';

/** The device that was meant, and the node where one was given. */
export interface Resolved extends DeviceAddress {
  node?: string;
}

/**
 * The address of the device that `spec` names. Addresses are only parsed; paths and descriptors are
 * looked up in sysfs.
 *
 * @throws TypeError `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE`
 * @throws RangeError `ERR_OUT_OF_RANGE` for a number that no descriptor can have
 * @throws VfioError `ERR_VFIO_NO_DEVICE` where a path or a descriptor leads to no device on a bus,
 *   `ERR_VFIO_NODE_MISMATCH` where a node is no VFIO device's; of stat `ENOENT` and others, of
 *   fstat `EBADF`
 */
export function resolveSpec(spec: DeviceSpec, roots: Roots): Resolved {
  const parsed = parseSpec(spec, roots);
  if ('fd' in parsed) return resolveFd(parsed.fd, roots);
  if ('folder' in parsed) return resolveFolder(parsed.folder, roots);
  if ('node' in parsed) return resolveNode(parsed.node, roots);
  return parsed;
}

/**
 * What `spec` means, with nothing looked up but what an error says of a name that is none.
 *
 * @throws TypeError, RangeError as {@link resolveSpec} does
 */
export function parseSpec(spec: DeviceSpec, roots: Roots): ParsedPath | { fd: number } {
  if (typeof spec === 'string' && spec.startsWith('/')) return parsePath(spec, roots);
  if (typeof spec === 'string') refuseShortName(spec, roots);
  if (typeof spec !== 'number') return parseAddress(spec);
  checkFdNumber('device', spec);
  return { fd: spec };
}

function resolveFd(fd: number, roots: Roots): DeviceAddress {
  const stat = statOf({ syscall: 'fstat' }, () => fs.fstatSync(fd, { bigint: true }));
  const cdev = cdevOf(stat, roots);
  if (cdev !== undefined) return resolveFolder(`${cdev.folder}/device`, roots);
  requireNumbersShown(`the descriptor ${fd}`, stat, roots);
  throw new VfioError({
    code: 'ERR_VFIO_NO_DEVICE',
    message: `the descriptor ${fd} is ${describe(stat)}, not a VFIO device`,
  });
}

function resolveNode(path: string, roots: Roots): Resolved {
  const stat = statOf({ syscall: 'stat', path }, () => fs.statSync(path, { bigint: true }));
  const cdev = cdevOf(stat, roots);
  if (cdev !== undefined) return { ...resolveFolder(`${cdev.folder}/device`, roots), node: path };
  requireNumbersShown(path, stat, roots);
  throw new VfioError({
    code: 'ERR_VFIO_NODE_MISMATCH',
    message: `${path} is ${describe(stat)}, which no VFIO device in sysfs is`,
    path,
  });
}

/**
 * Whoever cannot look at sysfs does not know whose numbers these are, and so not that they are
 * nobody's.
 */
function requireNumbersShown(what: string, stat: BigIntStats, roots: Roots): void {
  if (!stat.isCharacterDevice()) return;
  const hidden = hiddenNumbers(roots);
  if (hidden === undefined) return;
  throw new VfioError({
    code: 'ERR_VFIO_NO_DEVICE',
    message: `${what} is ${describe(stat)}, and no device is to be seen that has these numbers: ${hiddenText(hidden)}`,
    path: hidden.path,
  });
}

/** The device that {@link deviceAt} answers. */
function resolveFolder(path: string, roots: Roots): DeviceAddress {
  const found = deviceAt(path, roots);
  if (!('why' in found)) return found;
  const { why } = found;
  throw new VfioError({
    code: 'ERR_VFIO_NO_DEVICE',
    message: `no device: ${path} ${why}`,
    path,
  });
}

/**
 * The device to whose folder in sysfs `path` leads: the folder's name, on the bus it links to. Or
 * why it leads to none.
 */
export function deviceAt(path: string, { sysfsRoot }: Roots): DeviceAddress | { why: string } {
  const real = (at: string): string | undefined =>
    undefinedIfMissing('realpath', at, () => fs.realpathSync.native(at));
  const folder = real(path);
  const root = real(sysfsRoot || '/');
  if (folder === undefined || root === undefined) return { why: 'does not exist' };
  if (!folder.startsWith(root === '/' ? root : `${root}/`))
    return { why: `leads out of ${sysfsRoot}` };
  const bus = /(?:^|\/)bus\/([^/]+)$/.exec(readLinkText(`${folder}/subsystem`) ?? '')?.[1];
  const address = bus === undefined ? undefined : canonicalOn(bus, basename(folder));
  if (bus && address) return { bus, address };
  return { why: 'is not the folder of a device on a bus' };
}

/** The VFIO cdev with these numbers: its folder in sysfs, and its name. */
export function cdevOf(
  stat: BigIntStats,
  { sysfsRoot }: Roots,
): { folder: string; name: string } | undefined {
  if (!stat.isCharacterDevice()) return undefined;
  const folder = `${sysfsRoot}/dev/char/${numbersOf(stat)}`;
  const name = readLinkName(folder) ?? '';
  return isCdevName(name) ? { folder, name } : undefined;
}

function describe(stat: BigIntStats): string {
  return stat.isCharacterDevice()
    ? `the character device ${numbersOf(stat)}`
    : 'not a character device';
}

/** `major:minor`, of which the C library's dev_t has the higher bits apart. */
export function numbersOf({ rdev }: BigIntStats): string {
  const major = ((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & 0xfffff000n);
  const minor = (rdev & 0xffn) | ((rdev >> 12n) & 0xffffff00n);
  return `${major}:${minor}`;
}

/** What one of Node's functions says of a file; its errors become ours. */
export function statOf(
  call: { syscall: string; path?: string },
  stat: () => BigIntStats,
): BigIntStats {
  try {
    return stat();
  } catch (error) {
    throw isSystemError(error) ? systemError({ ...call, errno: error.errno }) : error;
  }
}
