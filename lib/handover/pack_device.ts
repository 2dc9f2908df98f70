import { type Inspected, inspectFd, nodeOf, requireBound, takenCdev } from '../backend/from_fd.ts';
import { elementsOf, invalidType, requireBoolean, requireObject } from '../core/arguments.ts';
import { util } from '../core/builtins.ts';
import { callerPlace } from '../core/caller.ts';
import { ofField, VfioError } from '../core/errors.ts';
import { FileDescriptor } from '../core/file_descriptor.ts';
import type { DeviceAddress, DeviceSpec } from '../core/location.ts';
import { shown } from '../core/shown.ts';
import { closing, closingAll, runSync, undoAndThrow } from '../core/steps.ts';
import { VfioDevice } from '../device/device.ts';
import { Ioas } from '../iommu/ioas.ts';
import { Iommufd } from '../iommu/iommufd.ts';
import { parseSpec } from '../locate/resolve.ts';
import { type RootOptions, rootsOf } from '../locate/roots.ts';

/**
 * What another program has to be told of a bound device beside its descriptors, since the kernel
 * does not tell it. Plain data, for JSON.
 */
export interface DeviceDescription {
  /** Of what a message says: 1, which one without it is, too. A receiver refuses what is newer. */
  version?: number | undefined;
  /** Which device it is. */
  device: DeviceAddress;
  /** Its id in the iommufd. */
  devId: number;
  /** Address spaces of the iommufd, in an order that both sides know. */
  ioasIds: number[];
}

/** A bound device as a message carries it. */
export interface PackedDevice {
  /** What the message says, such as JSON. */
  description: DeviceDescription;
  /** Numbers, of the device and of its iommufd: they stay their owners'. */
  fds: [device: number, iommufd: number];
}

/** A device that another program bound. */
export interface UnpackedDevice {
  /** Closes the iommufd when it is closed. */
  device: VfioDevice;
  /** Closing one destroys it. */
  ioases: Ioas[];
}

/**
 * What to send of a bound device. From then on it tells nothing of requests and errors, as after
 * reading its `fd`. It stays open here, and bound until both sides have closed it.
 *
 * @param ioases - address spaces of the same iommufd that go along
 * @throws TypeError
 * @throws VfioError `ERR_VFIO_CLOSED`, `ERR_VFIO_BUSY`; `ERR_VFIO_NO_DEV_ID`
 */
export function packDevice(device: VfioDevice, ioases: readonly Ioas[] = []): PackedDevice {
  if (!VfioDevice.isDevice(device)) throw invalidType('device', 'a VfioDevice', device);
  if (!Array.isArray(ioases)) throw invalidType('ioases', 'an array of Ioas', ioases);
  const { identity } = device.iommufd;
  for (const ioas of ioases as readonly unknown[]) {
    if (!Ioas.isIoas(ioas) || ioas.iommufdIdentity !== identity) {
      throw invalidType('ioases', "address spaces of the device's iommufd", ioas);
    }
  }
  const { bus, address } = device.device;
  const ioasIds = (ioases as readonly Ioas[]).map(({ id }) => id);
  const said = { device: { bus, address }, devId: device.devId, ioasIds };
  const description = { version: messageVersion, ...said };
  return { description, fds: [device.fd, device.iommufd.fd] };
}

/** What both sides know; it grows with what a receiver has to know, not with what it may ignore. */
const messageVersion = 1;

/** What a device has to be that is unpacked. */
export interface UnpackOptions extends RootOptions {
  /** The device that was asked for; without it, whichever was sent. */
  device?: DeviceSpec | undefined;
  /**
   * Whether the device tells this process when somebody wants it back, and of its errors: see the
   * events of {@link VfioDevice}. Not unless this is true. The giver hears nothing any more.
   */
  requestEvents?: boolean | undefined;
}

/**
 * Takes the device of a message that another program made with {@link packDevice}. The message may
 * be anything: the descriptors are proved to be what they are said to be, bound, and of the device
 * of the description. `devId`, and that the iommufd is the device's own, the kernel does not tell:
 * what needs them fails where they are wrong. The FileDescriptors are closed where it succeeds; where it fails all of them
 * are open, unless it failed at closing one.
 *
 * @param description - what the message says, of any type; bytes and strings are taken for JSON
 * @param fds - what came with it, the device's first
 * @throws TypeError, RangeError for arguments that the message has no part in
 * @throws VfioError, with the `field` of the message: `ERR_VFIO_BAD_MESSAGE`; `ERR_VFIO_NOT_VFIO`, `ERR_VFIO_NOT_BOUND`,
 *   `ERR_VFIO_NODE_MISMATCH`; `ENOENT` for an id that is no address space's; `EMFILE`;
 *   `ERR_VFIO_CLOSED` for a FileDescriptor that is closed
 */
export function unpackDevice(
  description: unknown,
  fds: readonly FileDescriptor[],
  options: UnpackOptions = {},
): UnpackedDevice {
  const place = callerPlace();
  if (!Array.isArray(fds) || !fds.every((fd) => FileDescriptor.isFileDescriptor(fd))) {
    throw invalidType('fds', 'an array of FileDescriptor', fds);
  }
  requireObject('options', options);
  const { device: wanted, requestEvents = false } = options;
  const roots = rootsOf(options);
  if (wanted !== undefined) parseSpec(wanted, roots);
  requireBoolean('requestEvents', requestEvents);
  const { device: said, devId, ioasIds } = readDescription(description);
  const [deviceFd, iommufdFd, ...more] = fds as readonly FileDescriptor[];
  if (!deviceFd || !iommufdFd || more.length > 0) {
    throw badMessage('fds', `a device comes with 2 descriptors, and not with ${fds.length}`);
  }
  // By their numbers: the message keeps them until all is well.
  const inspected = inField('fds[0]', () =>
    requireBound(inspectFd(deviceFd.fd, { ...roots, device: wanted })),
  );
  checkSaid(inspected, said);
  const iommufd = inField('fds[1]', () => Iommufd.taken(iommufdFd.fd, roots));
  iommufd.owned.asPart();
  try {
    const ioases = ioasIds.map((id, at) => {
      return inField(`ioasIds[${at}]`, () => iommufd.openIoas(id));
    });
    const node = nodeOf(deviceFd.fd, inspected, place);
    const target = { iommufd, own: iommufd };
    const bound = takenCdev(node, devId, target);
    const device = runSync(VfioDevice.adopt(bound, { requestEvents }));
    closeAll(fds, device);
    return { device, ioases };
  } catch (error) {
    return runSync(undoAndThrow(error, closing(iommufd)));
  }
}

/**
 * The device has descriptors of its own; where one of the message's does not close, nobody gets it.
 */
function closeAll(fds: readonly FileDescriptor[], device: VfioDevice): void {
  try {
    runSync(closingAll(fds));
  } catch (error) {
    runSync(undoAndThrow(error, closing(device)));
  }
}

/** Who says another device than it sends is not to be trusted with the rest. */
function checkSaid({ location }: Inspected, said: DeviceAddress): void {
  const { bus, address } = location.device;
  if (bus === said.bus && address === said.address) return;
  const field = bus === said.bus ? 'device.address' : 'device.bus';
  throw badMessage(field, `the device is said to be ${shown(said.address)}, and is ${address}`);
}

/** @throws VfioError `ERR_VFIO_BAD_MESSAGE`, which names the first field that is wrong */
function readDescription(said: unknown): DeviceDescription {
  const all = isText(said) ? parse(said) : said;
  const { version = 1, device, devId, ioasIds } = fieldsOf(all, 'description');
  requireId(version, 'version', 1);
  if (version > messageVersion) {
    throw new VfioError({
      code: 'ERR_VFIO_BAD_MESSAGE',
      message: `the message is of version ${version}, and this package knows version ${messageVersion}`,
      field: 'version',
      hint: 'a newer package sent it: update vfio where the device is received',
    });
  }
  const { bus, address } = fieldsOf(device, 'device');
  requireText(bus, 'device.bus');
  requireText(address, 'device.address');
  requireId(devId, 'devId', 0);
  if (!Array.isArray(ioasIds)) throw wrongField('ioasIds', 'an array of ids', ioasIds);
  const ids = elementsOf(ioasIds);
  for (const [at, id] of ids.entries()) requireId(id, `ioasIds[${at}]`, 1);
  return { device: { bus, address }, devId, ioasIds: ids as number[] };
}

function isText(said: unknown): said is string | Uint8Array {
  return typeof said === 'string' || util.types.isUint8Array(said);
}

function parse(text: string | Uint8Array): unknown {
  try {
    return JSON.parse(typeof text === 'string' ? text : Buffer.from(text).toString());
  } catch (error) {
    throw badMessage('description', 'its text is no JSON', error);
  }
}

function fieldsOf(value: unknown, field: string): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { ...value };
  throw wrongField(field, 'an object', value);
}

function requireText(value: unknown, field: string): asserts value is string {
  if (typeof value !== 'string') throw wrongField(field, 'a string', value);
}

function requireId(value: unknown, field: string, least: number): asserts value is number {
  const isId = Number.isInteger(value) && Number(value) >= least && Number(value) < 2 ** 32;
  if (!isId) throw wrongField(field, `an integer from ${least} to 4294967295`, value);
}

function wrongField(field: string, expected: string, value: unknown): VfioError {
  return badMessage(field, `its ${field} is not ${expected}, but ${shown(value)}`);
}

function badMessage(field: string, why: string, cause?: unknown): VfioError {
  return new VfioError({
    code: 'ERR_VFIO_BAD_MESSAGE',
    message: `the message has no device: ${why}`,
    field,
    cause,
  });
}

/** What is thrown of a part of the message names it. */
function inField<T>(field: string, take: () => T): T {
  try {
    return take();
  } catch (error) {
    throw error instanceof VfioError ? ofField(error, field) : error;
  }
}
