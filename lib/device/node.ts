import { constants } from 'node:fs';
import { binding } from '../binding.ts';
import { check } from '../call.ts';
import { VfioError } from '../errors.ts';
import type { CdevLocation } from '../locate/find_cdev.ts';
import { systemRoots, type Roots } from '../locate/roots.ts';
import { OwnedFd } from '../owned_fd.ts';
import { closeSyncAndThrow } from '../undo.ts';

/** A device node, open and proved by fstat to be the device that sysfs names. */
export interface CdevNode {
  /** Its `path` is that of the node that was opened. */
  location: CdevLocation;
  fd: OwnedFd;
  /** Where the device and its node were looked for. */
  roots: Roots;
}

/**
 * Opens the node of `location`, or else `char/<major>:<minor>`, the link that udev makes to it. What
 * is not the device that sysfs named is closed and refused.
 *
 * @throws VfioError the kernel's errors of open; `ERR_VFIO_NODE_MISMATCH`
 */
export function openNode(location: CdevLocation, roots: Roots = systemRoots): CdevNode {
  try {
    return openCandidate(location, roots);
  } catch (error) {
    if (!isFaultOfNode(error)) throw error;
    return openByNumbers(location, roots, error);
  }
}

function openByNumbers(location: CdevLocation, roots: Roots, first: VfioError): CdevNode {
  const path = `${roots.devRoot}/char/${location.major}:${location.minor}`;
  try {
    return openCandidate({ ...location, path }, roots);
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

function openCandidate(location: CdevLocation, roots: Roots): CdevNode {
  const { path, device } = location;
  const fd = OwnedFd.open(path, `the cdev of ${device.address}`, device.address);
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
function checkIdentity(fd: OwnedFd, { device, path, major, minor }: CdevLocation): void {
  check(binding().fstat(fd.native, stat), { syscall: 'fstat', path, device: device.address });
  const { 0: mode = 0, 1: foundMajor = 0, 2: foundMinor = 0 } = stat;
  const isCharacterDevice = (mode & constants.S_IFMT) === constants.S_IFCHR;
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
