import { fstatSync, realpathSync, statSync, type BigIntStats } from 'node:fs';
import { basename } from 'node:path';
import { outOfRange } from '../arguments.ts';
import { systemError, VfioError } from '../errors.ts';
import { parseAddress, type DeviceAddress, type DeviceSpec } from './address.ts';
import { isCdevName, parsePath } from './path.ts';
import type { Roots } from './roots.ts';
import { isSystemError, readLinkName, readLinkText, undefinedIfMissing } from './sysfs.ts';

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
 *   `ERR_VFIO_NODE_MISMATCH` where a node is no VFIO device's; of stat `ENOENT` and others, of fstat
 *   `EBADF`
 */
export function resolveSpec(spec: DeviceSpec, roots: Roots): Resolved {
  if (typeof spec === 'number') return resolveFd(spec, roots);
  if (typeof spec !== 'string' || !spec.startsWith('/')) return parseAddress(spec);
  const parsed = parsePath(spec, roots);
  if ('folder' in parsed) return resolveFolder(parsed.folder, roots);
  if ('node' in parsed) return resolveNode(parsed.node, roots);
  return parsed;
}

const mostFd = 2 ** 31 - 1;

function resolveFd(fd: number, roots: Roots): DeviceAddress {
  if (!Number.isInteger(fd) || fd < 0 || fd > mostFd) {
    throw outOfRange('device', 'the number of an open descriptor', fd);
  }
  const stat = statOf({ syscall: 'fstat' }, () => fstatSync(fd, { bigint: true }));
  const cdev = cdevOf(stat, roots);
  if (cdev !== undefined) return resolveFolder(`${cdev}/device`, roots);
  throw new VfioError({
    code: 'ERR_VFIO_NO_DEVICE',
    message: `the descriptor ${fd} is ${describe(stat)}, not a VFIO device`,
  });
}

function resolveNode(path: string, roots: Roots): Resolved {
  const stat = statOf({ syscall: 'stat', path }, () => statSync(path, { bigint: true }));
  const cdev = cdevOf(stat, roots);
  if (cdev !== undefined) return { ...resolveFolder(`${cdev}/device`, roots), node: path };
  throw new VfioError({
    code: 'ERR_VFIO_NODE_MISMATCH',
    message: `${path} is ${describe(stat)}, which no VFIO device in sysfs is`,
    path,
  });
}

/** The device to whose folder in sysfs `path` leads: the folder's name, on the bus it links to. */
function resolveFolder(path: string, { sysfsRoot }: Roots): DeviceAddress {
  const folder = undefinedIfMissing(path, () => realpathSync(path));
  if (folder === undefined) throw noDevice(path, 'does not exist');
  const isInside = folder.startsWith(`${realpathSync(sysfsRoot || '/')}/`);
  if (!isInside) throw noDevice(path, `leads out of ${sysfsRoot}`);
  const bus = /(?:^|\/)bus\/([^/]+)$/.exec(readLinkText(`${folder}/subsystem`) ?? '')?.[1];
  if (bus === undefined) throw noDevice(path, 'is not the folder of a device on a bus');
  return parseAddress({ bus, address: basename(folder) });
}

/** The folder in sysfs of the VFIO cdev with these numbers. */
function cdevOf(stat: BigIntStats, { sysfsRoot }: Roots): string | undefined {
  if (!stat.isCharacterDevice()) return undefined;
  const folder = `${sysfsRoot}/dev/char/${numbersOf(stat)}`;
  return isCdevName(readLinkName(folder) ?? '') ? folder : undefined;
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

function noDevice(path: string, why: string): VfioError {
  const message = `no device: ${path} ${why}`;
  return new VfioError({ code: 'ERR_VFIO_NO_DEVICE', message, path });
}
