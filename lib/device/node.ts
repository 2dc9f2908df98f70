import { binding } from '../binding.ts';
import { fs } from '../builtins.ts';
import { check } from '../call.ts';
import { VfioError } from '../errors.ts';
import type { NodeLocation } from '../locate/find_cdev.ts';
import { systemRoots, type Roots } from '../locate/roots.ts';
import { OwnedFd } from '../owned_fd.ts';
import { closeSyncAndThrow } from '../undo.ts';

/** A device node, open and proved by fstat to be the one that sysfs names. */
export interface DeviceNode<Location extends NodeLocation = NodeLocation> {
  /** Its `path` is that of the node that was opened. */
  location: Location;
  fd: OwnedFd;
  /** Where the device and its node were looked for. */
  roots: Roots;
}

/**
 * Opens the node of `location`, whose descriptor is called `what` in errors, or else `char/<major>:<minor>`, the link that udev makes to it. What
 * is not the device that sysfs named is closed and refused.
 *
 * @throws VfioError the kernel's errors of open; `ERR_VFIO_NODE_MISMATCH`
 */
export function openNode<Location extends NodeLocation>(
  location: Location,
  roots: Roots = systemRoots,
  what = `the cdev of ${location.device.address}`,
): DeviceNode<Location> {
  try {
    return openCandidate(location, roots, what);
  } catch (error) {
    if (!isFaultOfNode(error)) throw error;
    return openByNumbers(location, roots, what, error);
  }
}

function openByNumbers<Location extends NodeLocation>(
  location: Location,
  roots: Roots,
  what: string,
  first: VfioError,
): DeviceNode<Location> {
  const path = `${roots.devRoot}/char/${location.major}:${location.minor}`;
  try {
    return openCandidate({ ...location, path }, roots, what);
  } catch (error) {
    if (!isFaultOfNode(error)) throw error;
    // The one that is there says more than the one that is not.
    throw first.code === 'ENOENT' && error.code !== 'ENOENT' ? error : first;
  }
}

/** What another node for the same device may not have: a path, rights or numbers that are wrong. */
const faultsOfNode = new Set([
  'EACCES',
  'EISDIR',
  'ELOOP',
  'ENOENT',
  'ENOTDIR',
  'ENXIO',
  'ERR_VFIO_NODE_MISMATCH',
]);

function isFaultOfNode(error: unknown): error is VfioError {
  return error instanceof VfioError && faultsOfNode.has(error.code);
}

function openCandidate<Location extends NodeLocation>(
  location: Location,
  roots: Roots,
  what: string,
): DeviceNode<Location> {
  const { path, device } = location;
  const fd = OwnedFd.open(path, what, device.address);
  try {
    checkIdentity(fd, location);
  } catch (error) {
    closeSyncAndThrow(error, () => {
      fd.closeSync();
    });
  }
  return { location, fd, roots };
}

/** Where fstat's answer goes. */
const stat = new Uint32Array(3);

/** The name of a node proves nothing; the numbers of what was opened do. */
function checkIdentity(fd: OwnedFd, { device, path, major, minor }: NodeLocation): void {
  check(binding().fstat(fd.native, stat), { syscall: 'statx', path, device: device.address });
  const { 0: mode = 0, 1: foundMajor = 0, 2: foundMinor = 0 } = stat;
  const isCharacterDevice = (mode & fs.constants.S_IFMT) === fs.constants.S_IFCHR;
  if (isCharacterDevice && foundMajor === major && foundMinor === minor) return;
  const found = isCharacterDevice
    ? `is the character device ${foundMajor}:${foundMinor}`
    : 'is not a character device';
  throw new VfioError({
    code: 'ERR_VFIO_NODE_MISMATCH',
    message: `sysfs says that ${device.address} is ${major}:${minor}, but ${path} ${found}`,
    path,
    device: device.address,
  });
}
