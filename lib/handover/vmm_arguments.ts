import {
  checkInteger,
  invalidType,
  invalidValue,
  outOfRange,
  requireObject,
} from '../core/arguments.ts';
import { explained, VfioError } from '../core/errors.ts';
import { VfioCdev } from '../device/cdev.ts';
import { VfioDevice } from '../device/device.ts';
import { Iommufd } from '../iommu/iommufd.ts';

/** What a VMM is to have. It binds the device by itself, so the cdev must not be bound. */
export interface VmmDevices {
  /** One, or several that are to be bound to the same iommufd. */
  cdev: VfioCdev | readonly VfioCdev[];
  /** The iommufd that the VMM binds them to. */
  iommufd: Iommufd;
}

/** How a VMM gets its descriptors. */
export interface VmmOptions {
  /**
   * The number that the first descriptor has in the VMM; 3 by default, behind its standard streams.
   */
  firstFd?: number | undefined;
}

/** How QEMU gets its devices. */
export interface QemuOptions extends VmmOptions {
  /** The id of the iommufd object; `iommufd0` by default. */
  iommufdId?: string | undefined;
  /**
   * More properties of each device, such as `{ bus: 'port0', id: 'nic' }`; of several that differ,
   * such as in their `id`, a list of as many. `fd`, `iommufd`, `host`, `sysfsdev` and `driver` are
   * not among them.
   */
  properties?: QemuProperties | readonly QemuProperties[] | undefined;
}

/** Properties of a QEMU device; booleans become `on` and `off`. */
export type QemuProperties = Readonly<Record<string, string | number | boolean>>;

/** How to start a VMM with devices. */
export interface VmmArguments {
  /** For its command line, beside what the VMM needs otherwise. */
  args: string[];
  /** For its `stdio`, from `firstFd` on: `['inherit', 'inherit', 'inherit', ...fds]`. */
  fds: number[];
}

/**
 * How QEMU (9.0 and later) is given PCI devices by their descriptors: `-object iommufd` and
 * `-device vfio-pci`. QEMU needs no right to the nodes, and its exit gives the devices back.
 *
 * @throws TypeError, RangeError
 * @throws VfioError `ERR_VFIO_ALREADY_BOUND`; `ERR_VFIO_UNSUPPORTED` for another bus than PCI: QEMU
 *   takes every descriptor for a PCI device; `ERR_VFIO_CLOSED`
 */
export function qemuArguments(devices: VmmDevices, options: QemuOptions = {}): VmmArguments {
  requireObject('options', options);
  const { iommufdId = 'iommufd0', properties = {} } = options;
  checkWord('iommufdId', iommufdId);
  const more = propertiesOf(properties);
  checkIds(iommufdId, eachOf(properties, devices));
  const { fds, numbers } = prepare(devices, options);
  const [iommufd, ...cdevs] = numbers;
  const object = ['-object', `iommufd,id=${iommufdId},fd=${iommufd}`];
  const args = cdevs.flatMap((fd, at) => {
    const own = typeof more === 'string' ? more : more[at];
    return ['-device', `vfio-pci,fd=${fd},iommufd=${iommufdId}${own}`];
  });
  return { args: [...object, ...args], fds };
}

/**
 * The same for cloud-hypervisor: `--platform` and `--device`. Add what else `--platform` shall
 * have, which is given once, to the second argument.
 *
 * @throws as {@link qemuArguments}
 */
export function cloudHypervisorArguments(
  devices: VmmDevices,
  options: VmmOptions = {},
): VmmArguments {
  const { fds, numbers } = prepare(devices, options);
  const [iommufd, ...cdevs] = numbers;
  const platform = ['--platform', `iommufd=on,iommufd_fd=${iommufd}`];
  return { args: [...platform, '--device', ...cdevs.map((fd) => `fd=${fd}`)], fds };
}

/** Descriptors here, the iommufd's first, and their numbers in the VMM. */
function prepare(devices: VmmDevices, options: VmmOptions): { fds: number[]; numbers: number[] } {
  requireObject('devices', devices);
  requireObject('options', options);
  const { cdev, iommufd } = devices;
  const { firstFd = 3 } = options;
  if (!Iommufd.isIommufd(iommufd)) throw invalidType('devices.iommufd', 'an Iommufd', iommufd);
  checkInteger('firstFd', firstFd, 3, 1023);
  const cdevs: readonly unknown[] = Array.isArray(cdev) ? cdev : [cdev];
  if (cdevs.length === 0) throw invalidType('devices.cdev', 'a VfioCdev, or several', cdev);
  const unbound = cdevs.map(unboundCdev);
  checkDifferent(unbound);
  const fds = [iommufd.fd, ...unbound.map(({ fd }) => fd)];
  return { fds, numbers: fds.map((_, at) => firstFd + at) };
}

function unboundCdev(cdev: unknown): VfioCdev {
  if (VfioDevice.isDevice(cdev)) throw alreadyBound(cdev);
  if (!VfioCdev.isCdev(cdev)) throw invalidType('devices.cdev', 'a VfioCdev, or several', cdev);
  const { bus, address } = cdev.device;
  if (bus === 'pci') return cdev;
  throw new VfioError({
    code: 'ERR_VFIO_UNSUPPORTED',
    message: `${address} is on the bus ${bus}: a VMM that is given a descriptor takes it for a PCI device`,
    device: address,
  });
}

/** Two descriptors of a device are no two devices: the second could not be bound. */
function checkDifferent(cdevs: readonly VfioCdev[]): void {
  const addresses = cdevs.map(({ device }) => device.address);
  const again = addresses.find((address, at) => addresses.indexOf(address) < at);
  if (again === undefined) return;
  throw invalidValue('devices.cdev', `each of another device, and ${again} is there twice`, cdevs);
}

function alreadyBound({ device, path }: VfioDevice): VfioError {
  const error = new VfioError({
    code: 'ERR_VFIO_ALREADY_BOUND',
    message: `${device.address} is bound, and a VMM binds by itself: close the VfioDevice, and pass what openCdev() answers`,
    path,
    device: device.address,
  });
  return explained(error, { reason: 'already-bound', certainty: 'certain', facts: { path } });
}

/** Ids and names of QEMU's. @throws TypeError */
function checkWord(name: string, value: unknown): void {
  if (typeof value !== 'string') throw invalidType(name, 'a string', value);
  if (/^[A-Za-z][\w.-]*$/.test(value)) return;
  throw invalidValue(name, 'a letter with letters, digits, -, _ and . behind it', value);
}

/** What QEMU has behind the other properties: the same for each device, or of each its own. */
function propertiesOf(properties: unknown): string | string[] {
  if (!Array.isArray(properties)) return suffixOf('properties', properties);
  return properties.map((each, at) => suffixOf(`properties[${at}]`, each));
}

/** The properties of each device: those of all, or a list of as many. @throws TypeError */
function eachOf(properties: unknown, devices: VmmDevices): readonly unknown[] {
  requireObject('devices', devices);
  const count = Array.isArray(devices.cdev) ? devices.cdev.length : 1;
  if (!Array.isArray(properties)) return Array.from({ length: count }, () => properties);
  if (properties.length === count) return properties;
  throw invalidValue('properties', `a list of ${count}, one for each device`, properties);
}

/** No two objects have one id. @throws TypeError */
function checkIds(iommufdId: string, each: readonly unknown[]): void {
  const ids = each.flatMap((one) => Object.entries(one as object)).filter(([key]) => key === 'id');
  const seen = new Set<unknown>([iommufdId]);
  for (const [, id] of ids) {
    if (seen.has(id)) throw invalidValue('properties.id', 'another one for each object', id);
    seen.add(id);
  }
}

/** What says which device it is, which its descriptor does. */
const ownProperties = ['fd', 'iommufd', 'host', 'sysfsdev', 'driver'];

/** @throws TypeError */
function suffixOf(name: string, properties: unknown): string {
  requireObject(name, properties);
  return Object.entries(properties as object)
    .map(([key, value]) => `,${property(key, value)}`)
    .join('');
}

/** A comma would begin another property: QEMU has it written twice. */
function property(name: string, value: unknown): string {
  checkWord('properties', name);
  if (ownProperties.includes(name)) {
    throw invalidValue(`properties.${name}`, 'left to this function', value);
  }
  if (name === 'id') checkWord('properties.id', value);
  switch (typeof value) {
    case 'boolean':
      return `${name}=${value ? 'on' : 'off'}`;
    case 'number':
      if (!Number.isFinite(value)) throw outOfRange(`properties.${name}`, 'a finite number', value);
      return `${name}=${value}`;
    case 'string':
      if (value.includes('\0')) throw invalidValue(`properties.${name}`, 'without a NUL', value);
      return `${name}=${value.replaceAll(',', ',,')}`;
    default:
      throw invalidType(`properties.${name}`, 'a string, a number or a boolean', value);
  }
}
