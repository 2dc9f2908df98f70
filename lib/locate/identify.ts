import { fstatSync } from 'node:fs';
import { invalidType, outOfRange } from '../arguments.ts';
import { VfioError } from '../errors.ts';
import { requireLinux } from '../platform.ts';
import type { SysfsDevice } from './find_cdev.ts';
import { numbersOf, statOf } from './resolve.ts';
import { systemRoots } from './roots.ts';
import { readAttribute, readLinkName, readLinkText } from './sysfs.ts';

/** What a descriptor is. */
export type FdIdentity =
  /** A device's cdev, bound or not. */
  | ({ kind: 'cdev'; name: string; major: number; minor: number } & SysfsDevice)
  /**
   * A device of a legacy group. Kernels before 6.18 do not say which: `device` is null then, and
   * where the device is gone.
   */
  | { kind: 'device'; device: SysfsDevice | null }
  /** An open `/dev/iommu`. */
  | { kind: 'iommufd' };

/**
 * What is behind a descriptor of this process, such as one that another program passed: by its
 * device numbers, whatever path it was opened by. Nothing is opened, and `fd` stays the caller's.
 *
 * @param fd the descriptor's number
 * @throws TypeError `ERR_INVALID_ARG_TYPE`; RangeError `ERR_OUT_OF_RANGE`
 * @throws VfioError `EBADF`; `ERR_VFIO_NOT_VFIO` for what is none of these, and for the cdev of a
 *   device that is gone; `ERR_VFIO_UNSUPPORTED_PLATFORM`
 */
export function identify(fd: number): FdIdentity {
  requireFdNumber(fd);
  requireLinux();
  const numbers = deviceNumbers(fd);
  const found = numbers === undefined ? identifyAnonymous(fd) : identifyNode(numbers);
  if (found !== undefined) return found;
  const target = targetOf(fd) ?? 'no longer open';
  const what = numbers === undefined ? target : `${target}, ${numbers}`;
  throw new VfioError({
    code: 'ERR_VFIO_NOT_VFIO',
    message: `the descriptor ${fd} (${what}) is neither a VFIO device nor an iommufd`,
    path: target,
  });
}

function requireFdNumber(fd: unknown): void {
  if (typeof fd !== 'number') throw invalidType('fd', 'a number', fd);
  if (Number.isInteger(fd) && fd >= 0 && fd <= 0x7fff_ffff) return;
  throw outOfRange('fd', 'an integer >= 0 and <= 2147483647', fd);
}

/** `major:minor` of a character device; undefined for another kind of file. */
function deviceNumbers(fd: number): string | undefined {
  const stat = statOf({ syscall: 'fstat' }, () => fstatSync(fd, { bigint: true }));
  return stat.isCharacterDevice() ? numbersOf(stat) : undefined;
}

function identifyNode(numbers: string): FdIdentity | undefined {
  const { sysfsRoot } = systemRoots;
  const node = `${sysfsRoot}/dev/char/${numbers}`;
  if (readLinkName(`${node}/subsystem`) === 'vfio-dev') {
    const name = readLinkName(node);
    const device = deviceAt(`${node}/device`, readLinkName(`${node}/device`));
    const [major = NaN, minor = NaN] = numbers.split(':').map(Number);
    return name && device ? { kind: 'cdev', ...device, name, major, minor } : undefined;
  }
  const iommufd = readAttribute(`${sysfsRoot}/class/misc/iommu/dev`);
  return iommufd === numbers ? { kind: 'iommufd' } : undefined;
}

/** A legacy group gives descriptors of a file without a node. */
function identifyAnonymous(fd: number): FdIdentity | undefined {
  if (targetOf(fd) !== 'anon_inode:[vfio-device]') return undefined;
  const path = syspathOf(readAttribute(`/proc/self/fdinfo/${fd}`) ?? '');
  return { kind: 'device', device: deviceAt(path, path?.slice(path.lastIndexOf('/') + 1)) ?? null };
}

/** The line of fdinfo that kernels since 6.18 write. */
export function syspathOf(fdinfo: string): string | undefined {
  return /^vfio-device-syspath:\s*(\/.+)$/m.exec(fdinfo)?.[1];
}

/** The device whose folder in sysfs, or a link to it, is `path`; undefined where it is gone. */
function deviceAt(path = '', address = ''): SysfsDevice | undefined {
  const bus = readLinkName(`${path}/subsystem`);
  if (bus === undefined) return undefined;
  return { bus, address, sysfsPath: `${systemRoots.sysfsRoot}/bus/${bus}/devices/${address}` };
}

/** Where the descriptor leads, as the kernel says it. */
function targetOf(fd: number): string | undefined {
  return readLinkText(`/proc/self/fd/${fd}`);
}
