import { checkId, requireBoolean, requireObject } from '../core/arguments.ts';
import type { CallerPlace } from '../core/caller.ts';
import { explained, VfioError } from '../core/errors.ts';
import { type FileDescriptor, numberOfFd, takeFd } from '../core/file_descriptor.ts';
import type { DeviceSpec, NodeLocation, Roots } from '../core/location.ts';
import type { DeviceNode } from '../core/owned_fd.ts';
import { runSync } from '../core/steps.ts';
import { checkIommufd, type Iommufd } from '../iommu/iommufd.ts';
import { inSysfs } from '../locate/find_cdev.ts';
import { type FdIdentity, identify } from '../locate/identify.ts';
import { resolveSpec } from '../locate/resolve.ts';
import { type RootOptions, rootsOf } from '../locate/roots.ts';
import { BoundCdev, type BindTarget } from './cdev_device.ts';
import { readOpened } from './opened.ts';

/** How to take a descriptor that another program opened. */
export interface FromFdOptions extends RootOptions {
  /** The device that it has to be; without it, any. */
  device?: DeviceSpec | undefined;
}

/** How to take a device that another program bound. */
export interface DeviceFromFdOptions extends FromFdOptions {
  /** The iommufd that the device was bound to: `Iommufd.fromFd` of a descriptor of it. */
  iommufd: Iommufd;
  /**
   * The device's id in the iommufd, as the program that bound it knows it. The kernel does not tell
   * it again; what needs it throws `ERR_VFIO_NO_DEV_ID` without it: `devId` itself, page tables of
   * the device's own and `hardwareInfo`.
   */
  devId?: number | undefined;
  /**
   * Whether the device tells this process when somebody wants it back, and of its errors: see the
   * events of {@link VfioDevice}. Not unless this is true: who bound it may listen to them.
   */
  requestEvents?: boolean | undefined;
}

/** The cdev behind a descriptor, unbound, in a descriptor of our own. */
export function cdevFromFd(
  fd: number | FileDescriptor,
  options: FromFdOptions,
  place: CallerPlace | undefined,
): DeviceNode {
  const inspected = inspectFd(fd, options);
  if (inspected.bound) throw alreadyBound(inspected.location);
  return nodeOf(fd, inspected, place);
}

/** The bound device behind a descriptor, in a descriptor of our own. */
export function boundFromFd(
  fd: number | FileDescriptor,
  options: DeviceFromFdOptions,
  place: CallerPlace | undefined,
): BoundCdev {
  numberOfFd('fd', fd);
  requireObject('options', options);
  const { iommufd, devId, requestEvents } = options;
  checkIommufd(iommufd, true);
  if (devId !== undefined) checkId('devId', devId);
  requireBoolean('requestEvents', requestEvents);
  const node = nodeOf(fd, requireBound(inspectFd(fd, options)), place);
  return takenCdev(node, devId, { iommufd, own: undefined });
}

/** A device that another program bound: only that program's kernel calls said to which iommufd. */
export function takenCdev(
  node: DeviceNode,
  devId: number | undefined,
  target: BindTarget,
): BoundCdev {
  const { owned } = target.iommufd;
  if (!owned.closed) node.fd.holds(owned);
  const info = runSync(readOpened(node));
  return new BoundCdev(node, info, devId, target, 'another program bound it');
}

/** What a descriptor is. */
export interface Inspected {
  roots: Roots;
  location: NodeLocation;
  bound: boolean;
}

/** What the descriptor is, of which its name says nothing. */
export function inspectFd(fd: number | FileDescriptor, options: FromFdOptions): Inspected {
  const number = numberOfFd('fd', fd);
  requireObject('options', options);
  const roots = rootsOf(options);
  const wanted = options.device === undefined ? undefined : resolveSpec(options.device, roots);
  const identity = identify(number, { sysfsRoot: roots.sysfsRoot });
  if (identity.kind !== 'cdev') throw notCdev(number, identity);
  const { bus, address, name, major, minor, bound } = identity;
  if (wanted && (wanted.bus !== bus || wanted.address !== address)) {
    throw new VfioError({
      code: 'ERR_VFIO_NODE_MISMATCH',
      message: `the descriptor ${number} is ${address}, not ${wanted.address}`,
      device: wanted.address,
    });
  }
  const device = inSysfs({ bus, address }, roots);
  const path = `${roots.devRoot}/vfio/devices/${name}`;
  return { roots, bound, location: { device, name, major, minor, path } };
}

/** @throws VfioError `ERR_VFIO_NOT_BOUND` */
export function requireBound(inspected: Inspected): Inspected {
  if (inspected.bound) return inspected;
  throw notBound(inspected.location);
}

/** The node of a descriptor that was inspected, with a descriptor of our own. */
export function nodeOf(
  fd: number | FileDescriptor,
  { location, roots }: Inspected,
  place: CallerPlace | undefined,
): DeviceNode {
  return takeFd(fd, named(location), (own) => ({ location, roots, fd: own.openedAt(place) }));
}

function named({ device, path }: NodeLocation): { what: string; path: string } {
  return { what: `the cdev of ${device.address}`, path };
}

function notCdev(fd: number, { kind }: FdIdentity): VfioError {
  const what = kind === 'iommufd' ? 'an iommufd' : 'a device of a legacy group';
  const message = `the descriptor ${fd} is ${what}, not the cdev of a device`;
  return new VfioError({ code: 'ERR_VFIO_NOT_VFIO', message });
}

function notBound({ device, path }: NodeLocation): VfioError {
  return new VfioError({
    code: 'ERR_VFIO_NOT_BOUND',
    message: `the cdev of ${device.address} is not bound: VfioCdev.fromFd takes it, and its bind()`,
    path,
    device: device.address,
  });
}

function alreadyBound({ device, path }: NodeLocation): VfioError {
  const error = new VfioError({
    code: 'ERR_VFIO_ALREADY_BOUND',
    message: `the cdev of ${device.address} is bound: VfioDevice.fromFd takes it, with its iommufd`,
    path,
    device: device.address,
  });
  return explained(error, { reason: 'already-bound', certainty: 'certain', facts: { path } });
}
