import { VfioError } from '../core/errors.ts';
import type { NodeLocation, Roots } from '../core/location.ts';
import { type DeviceNode, OwnedFd } from '../core/owned_fd.ts';
import { closing, runSync, undoAndThrow } from '../core/steps.ts';
import { checkIdentity } from '../iommu/node_identity.ts';
import { systemRoots } from '../locate/roots.ts';

/**
 * Opens the node of `location`, whose descriptor is called `what` in errors, or else
 * `char/<major>:<minor>`, the link that udev makes to it. What is not the device that sysfs named
 * is closed and refused.
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
    const { major, minor } = location;
    const { address } = device;
    checkIdentity(fd, { whose: address, numbers: { major, minor }, device: address });
  } catch (error) {
    return runSync(undoAndThrow(error, closing(fd)));
  }
  return { location, fd, roots };
}
