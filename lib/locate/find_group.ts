import { requirePlatform } from '../addon.ts';
import { requireObject } from '../core/arguments.ts';
import { VfioError } from '../core/errors.ts';
import type {
  DeviceSpec,
  GroupLocation,
  NodeLocation,
  Roots,
  SysfsDevice,
} from '../core/location.ts';
import { type Hidden, hiddenText } from '../core/words.ts';
import { inSysfs, isPresent, noDevice, noVfioDevice } from './find_cdev.ts';
import { cdevFolders, parseNumbers } from './path.ts';
import { resolveSpec } from './resolve.ts';
import { type RootOptions, rootsOf } from './roots.ts';
import { hiddenFolder } from './shown.ts';
import { listNames, readAttribute, readLinkName } from './sysfs.ts';

/**
 * The legacy group of the device that `spec` names: `/sys/class/vfio/<group>/dev` holds its numbers.
 * Its node, `/dev/vfio/<group>`, is not looked for.
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
  throw noGroup(device, hiddenFolder(`${roots.sysfsRoot}/class`));
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
