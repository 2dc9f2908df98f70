import { basename } from 'node:path';
import { requirePlatform } from '../addon.ts';
import { requireObject } from '../core/arguments.ts';
import { VfioError } from '../core/errors.ts';
import type {
  CdevLocation,
  DeviceAddress,
  DeviceSpec,
  GroupLocation,
  NodeLocation,
  Roots,
  SysfsDevice,
} from '../core/location.ts';
import { type Hidden, hiddenText } from '../core/messages.ts';
import { cdevFolders, isCdevName, numbersInUevent, parseNumbers } from './path.ts';
import { resolveSpec } from './resolve.ts';
import { type RootOptions, rootsOf, systemRoots } from './roots.ts';
import { hiddenDevice, hiddenFolder, listNames, readAttribute, readLinkName } from './sysfs.ts';

/**
 * The device in sysfs that `spec` names; where that is an address, whether or not it is there.
 *
 * @throws TypeError, RangeError, VfioError as `resolveSpec` does
 */
export function locateDevice(spec: DeviceSpec, roots: Roots = systemRoots): SysfsDevice {
  requirePlatform();
  return inSysfs(resolveSpec(spec, roots), roots);
}

/**
 * The cdev of the device that `spec` names: `<device>/vfio-dev/vfioN/dev` holds its numbers. Its
 * node is not looked for; only where `spec` is a node is that one the location's path.
 *
 * @throws TypeError, RangeError for what cannot name a device
 * @throws VfioError `ERR_VFIO_NO_DEVICE`, `ERR_VFIO_NOT_BOUND_TO_VFIO`, `ERR_VFIO_NO_CDEV`; where
 *   `spec` is a node, `ERR_VFIO_NODE_MISMATCH` and of stat `ENOENT`; where it is a descriptor
 *   `EBADF`
 */
export function findCdev(spec: DeviceSpec, options: RootOptions = {}): CdevLocation {
  requirePlatform();
  requireObject('options', options);
  const roots = rootsOf(options);
  const resolved = resolveSpec(spec, roots);
  const device = inSysfs(resolved, roots);
  const { folder, name } = findCdevFolder(device, roots);
  return {
    device,
    name,
    ...cdevNumbers(device, `${folder}/${name}`, roots),
    path: resolved.node ?? `${roots.devRoot}/vfio/devices/${name}`,
  };
}

export function inSysfs({ bus, address }: DeviceAddress, { sysfsRoot }: Roots): SysfsDevice {
  return { bus, address, sysfsPath: `${sysfsRoot}/bus/${bus}/devices/${address}` };
}

function findCdevFolder(device: SysfsDevice, roots: Roots): { folder: string; name: string } {
  for (const last of cdevFolders) {
    const folder = `${device.sysfsPath}/${last}`;
    const name = listNames(folder)?.find(isCdevName);
    if (name !== undefined) return { folder, name };
  }
  throw noVfioDevice(device, roots);
}

/**
 * On a device's way to its driver and from it the folder is there without `dev` for a moment
 * (device_add and device_del, drivers/base/core.c): `uevent` comes before and goes after it, and
 * has the numbers of every device that has any.
 */
function cdevNumbers(
  device: SysfsDevice,
  folder: string,
  roots: Roots,
): Pick<CdevLocation, 'major' | 'minor'> {
  const numbers = parseNumbers(readAttribute(`${folder}/dev`) ?? '');
  if (numbers !== undefined) return numbers;
  const uevent = readAttribute(`${folder}/uevent`);
  if (uevent === undefined) throw noVfioDevice(device, roots);
  const told = numbersInUevent(uevent);
  if (told === undefined) throw noCdev(device, folder);
  return told;
}

/** A device that is there has at least a link to its bus. */
export function isPresent({ sysfsPath }: SysfsDevice): boolean {
  return readLinkName(`${sysfsPath}/subsystem`) !== undefined;
}

export function noDevice(device: SysfsDevice, roots: Roots): VfioError {
  const { address, bus, sysfsPath } = device;
  const hidden = hiddenDevice(device, roots);
  const others = sameElsewhere(device, roots);
  const there = others.length === 0 ? '' : `; there is ${others.join(' and ')}`;
  return new VfioError({
    code: 'ERR_VFIO_NO_DEVICE',
    message: hidden
      ? `no device ${address} on the bus ${bus} is to be seen: ${hiddenText(hidden)}`
      : `there is no device ${address} on the bus ${bus}${there}`,
    path: hidden?.path ?? sysfsPath,
    device: address,
  });
}

/** Devices at the same place of other PCI domains: a short address means the domain 0000. */
export function sameElsewhere({ bus, address }: DeviceAddress, { sysfsRoot }: Roots): string[] {
  if (bus !== 'pci') return [];
  const place = address.slice(address.indexOf(':'));
  const names = listNames(`${sysfsRoot}/bus/pci/devices`) ?? [];
  return names.filter((name) => name !== address && name.endsWith(place)).sort();
}

function noVfioDevice(device: SysfsDevice, roots: Roots): VfioError {
  const { address, sysfsPath } = device;
  if (!isPresent(device)) return noDevice(device, roots);
  const driver = readLinkName(`${sysfsPath}/driver`);
  const has = driver === undefined ? 'has no driver:' : `is bound to the driver ${driver}:`;
  return new VfioError({
    code: 'ERR_VFIO_NOT_BOUND_TO_VFIO',
    message: `${address} ${has} it needs a VFIO driver, such as vfio-pci`,
    path: sysfsPath,
    device: address,
  });
}

function noCdev({ bus, address, sysfsPath }: SysfsDevice, path: string): VfioError {
  const why = isWithoutIommu({ bus, sysfsPath })
    ? ''
    : ': it was built without CONFIG_VFIO_DEVICE_CDEV';
  return new VfioError({
    code: 'ERR_VFIO_NO_CDEV',
    message: `the kernel makes no device node for ${address} (${basename(path)} has no 'dev' in sysfs)${why}`,
    path,
    device: address,
  });
}

/**
 * The legacy group of the device that `spec` names: `/sys/class/vfio/<group>/dev` holds its
 * numbers. Its node, `/dev/vfio/<group>`, is not looked for.
 *
 * @throws TypeError, RangeError for what cannot name a device
 * @throws VfioError `ERR_VFIO_NO_DEVICE`, `ERR_VFIO_NOT_BOUND_TO_VFIO`, `ERR_VFIO_NO_GROUP`
 */
export function findGroup(spec: DeviceSpec, options: RootOptions = {}): GroupLocation {
  requirePlatform();
  requireObject('options', options);
  const roots = rootsOf(options);
  const device = inSysfs(resolveSpec(spec, roots), roots);
  if (!isPresent(device)) throw noDevice(device, roots);
  if (!hasVfioDriver(device)) throw noVfioDevice(device, roots);
  const group = readLinkName(`${device.sysfsPath}/iommu_group`);
  if (group === undefined) throw noGroup(device);
  // Without an IOMMU the kernel makes up a group, and says so in the node's name.
  for (const name of [group, `noiommu-${group}`]) {
    const dev = readAttribute(`${roots.sysfsRoot}/class/vfio/${name}/dev`);
    const numbers = dev === undefined ? undefined : parseNumbers(dev);
    if (numbers === undefined) continue;
    return { device, name, ...numbers, path: nodeOf(name, roots), group: Number(group) };
  }
  // Taken from its driver meanwhile, its group may be gone with it.
  if (!hasVfioDriver(device)) throw noVfioDevice(device, roots);
  throw noGroup(device, hiddenFolder(`${roots.sysfsRoot}/class`));
}

/** VFIO made its group. It makes those of mediated devices, too, which their drivers confine. */
export function isWithoutIommu({ bus, sysfsPath }: Omit<SysfsDevice, 'address'>): boolean {
  return bus !== 'mdev' && readAttribute(`${sysfsPath}/iommu_group/name`) === 'vfio-noiommu';
}

/** Whether the name is that of a group, or a cdev, without an IOMMU. */
export function isNoiommu({ name }: Pick<NodeLocation, 'name'>): boolean {
  return name.startsWith('noiommu-');
}

function nodeOf(name: string, { devRoot }: Roots): string {
  return `${devRoot}/vfio/${name}`;
}

/** Every device with a VFIO driver has the folder of cdevs, on kernels that make none as well. */
function hasVfioDriver({ sysfsPath }: SysfsDevice): boolean {
  return cdevFolders.some((folder) => listNames(`${sysfsPath}/${folder}`) !== undefined);
}

function noGroup({ address, sysfsPath }: SysfsDevice, hidden?: Hidden): VfioError {
  return new VfioError({
    code: 'ERR_VFIO_NO_GROUP',
    message: hidden
      ? `the group node of ${address} cannot be looked up: ${hiddenText(hidden)}`
      : `the kernel makes no group node for ${address}: ` +
        'it was built without CONFIG_VFIO_GROUP, or the device has no IOMMU group',
    path: sysfsPath,
    device: address,
  });
}
