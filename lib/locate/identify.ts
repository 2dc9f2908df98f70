import type { BigIntStats } from 'node:fs';
import { requirePlatform } from '../addon.ts';
import { checkFdNumber, requireObject } from '../core/arguments.ts';
import { binding, type NativeFd } from '../core/binding.ts';
import { fs } from '../core/builtins.ts';
import { check } from '../core/call.ts';
import { EINVAL } from '../core/errno.ts';
import { VfioError } from '../core/errors.ts';
import type { Roots, SysfsDevice } from '../core/location.ts';
import { hiddenText } from '../core/messages.ts';
import { inSysfs } from './find_cdev.ts';
import { parseNumbers } from './path.ts';
import { cdevOf, deviceAt, numbersOf, statOf } from './resolve.ts';
import { type RootOptions, rootsOf } from './roots.ts';
import {
  hiddenFolder,
  hiddenMisc,
  hiddenNumbers,
  miscNumbers,
  readAttribute,
  readLinkText,
} from './sysfs.ts';

/** What a descriptor is. */
export type FdIdentity =
  /** A device's cdev. `bound`: to an iommufd, by whomever. Of an mdev `bus` is 'mdev'. */
  | ({ kind: 'cdev'; name: string; major: number; minor: number; bound: boolean } & SysfsDevice)
  /**
   * A device of a legacy group. Kernels before 6.18 do not say which: `device` is null then, and
   * where the device is gone or sysfs does not show it.
   */
  | { kind: 'device'; device: SysfsDevice | null }
  /** An open `/dev/iommu`. */
  | { kind: 'iommufd' };

/**
 * What is behind a descriptor of this process, such as one that another program passed: by its
 * device numbers, whatever path it was opened by. Nothing is opened, and `fd` stays the caller's.
 *
 * @param fd - the descriptor's number
 * @param options - where sysfs is, if elsewhere
 * @throws TypeError `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE`; RangeError `ERR_OUT_OF_RANGE`
 * @throws VfioError `EBADF`, also for a descriptor that is only a path; `ERR_VFIO_NOT_VFIO` for
 *   what is none of these, for the cdev of a device that is gone, and for what cannot be told,
 *   where the message says what is not to be seen; `ERR_VFIO_UNSUPPORTED_PLATFORM`
 */
export function identify(fd: number, options: Pick<RootOptions, 'sysfsRoot'> = {}): FdIdentity {
  checkFdNumber('fd', fd);
  requireObject('options', options);
  const roots = rootsOf({ sysfsRoot: options.sysfsRoot });
  requirePlatform();
  const stat = statOf({ syscall: 'fstat' }, () => fs.fstatSync(fd, { bigint: true }));
  const isNode = stat.isCharacterDevice();
  const found = isNode ? identifyNode(fd, stat, roots) : identifyAnonymous(fd, roots);
  if (found !== undefined) return found;
  const path = targetOf(fd);
  const hiddenLinks = hiddenFolder(ownDescriptors);
  const target = path ?? (hiddenLinks ? 'unnamed' : 'no longer open');
  const what = isNode ? `${target}, ${numbersOf(stat)}` : target;
  const unseen = isNode ? unseenOf(stat, roots) : hiddenLinks && hiddenText(hiddenLinks);
  const message = unseen
    ? `what the descriptor ${fd} (${what}) is cannot be told: ${unseen}`
    : `the descriptor ${fd} (${what}) is neither a VFIO device nor an iommufd`;
  throw new VfioError({ code: 'ERR_VFIO_NOT_VFIO', message, path });
}

/** What of sysfs tells cdevs and the iommufd from other nodes, and is not to be seen. */
function unseenOf(stat: BigIntStats, roots: Roots): string | undefined {
  const cdev = cdevOf(stat, roots);
  if (cdev !== undefined) return unseenDevice(`${cdev.folder}/device`, roots);
  const hidden = hiddenNumbers(roots) ?? hiddenMisc(roots);
  return hidden && hiddenText(hidden);
}

/** Where sysfs names a cdev and does not show its device, that is what cannot be seen. */
function unseenDevice(path: string, roots: Roots): string | undefined {
  const found = deviceAt(path, roots);
  return 'why' in found ? `${path} ${found.why}` : undefined;
}

/** A cdev, or /dev/iommu. */
function identifyNode(fd: number, stat: BigIntStats, roots: Roots): FdIdentity | undefined {
  const cdev = cdevOf(stat, roots);
  const numbers = numbersOf(stat);
  if (cdev !== undefined) {
    const { folder, name } = cdev;
    const device = deviceIn(`${folder}/device`, roots);
    const parsed = parseNumbers(numbers);
    if (!device || !parsed) return undefined;
    return { kind: 'cdev', ...device, name, ...parsed, bound: isBound(fd) };
  }
  const iommufd = miscNumbers('iommu', roots.sysfsRoot);
  return iommufd === numbers ? { kind: 'iommufd' } : undefined;
}

/** A legacy group gives descriptors of a file without a node. */
function identifyAnonymous(fd: number, roots: Roots): FdIdentity | undefined {
  if (targetOf(fd) !== 'anon_inode:[vfio-device]') return undefined;
  const path = syspathOf(readAttribute(`/proc/self/fdinfo/${fd}`) ?? '');
  // The kernel says where it is in the sysfs that it calls /sys.
  const folder = path?.replace(/^\/sys(?=\/)/, () => roots.sysfsRoot);
  const device = folder === undefined ? undefined : deviceIn(folder, roots);
  return { kind: 'device', device: device ?? null };
}

/** The line of fdinfo that kernels since 6.18 write. */
export function syspathOf(fdinfo: string): string | undefined {
  return /^vfio-device-syspath:\s*(\/.+)$/m.exec(fdinfo)?.[1];
}

/** The device whose folder in sysfs, or a link to it, is `path`; undefined where it is gone. */
function deviceIn(path: string, roots: Roots): SysfsDevice | undefined {
  const found = deviceAt(path, roots);
  return 'why' in found ? undefined : inSysfs(found, roots);
}

const ownDescriptors = '/proc/self/fd';

/** Where the descriptor leads, as the kernel says it. */
function targetOf(fd: number): string | undefined {
  return readLinkText(`${ownDescriptors}/${fd}`);
}

/** The size of struct vfio_device_info. */
const infoBytes = 24;

/**
 * Whether a cdev is bound, by whomever: until then the kernel refuses every other ioctl with
 * EINVAL, VFIO_DEVICE_GET_INFO among them.
 *
 * @throws VfioError of that ioctl: `EBADF` for a descriptor that is only a path, `EIO`
 */
function isBound(number: number): boolean {
  const native = binding();
  // For the addon's functions, which take handles; the number stays its owner's.
  const copy = check(native.dup(number), { syscall: 'fcntl' }) as NativeFd;
  const answer = native.getDeviceInfo(copy, infoBytes, new Uint32Array(infoBytes / 4));
  check(native.closeSync(copy), { syscall: 'close' });
  if (answer === EINVAL) return false;
  check(answer, { syscall: 'ioctl', request: 'VFIO_DEVICE_GET_INFO' });
  return true;
}
