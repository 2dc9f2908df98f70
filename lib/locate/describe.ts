import type { DeviceSpec } from './address.ts';
import { decodeFacts, type DeviceFacts } from './facts.ts';
import { isPresent, locateDevice, noDevice, systemRoots, type Roots } from './find_cdev.ts';
import { readAttribute, readLinkName } from './sysfs.ts';

/**
 * Reads what sysfs says of a device.
 *
 * @throws TypeError for an address that cannot be one
 * @throws VfioError `ERR_VFIO_NO_DEVICE`
 */
export function describeDevice(spec: DeviceSpec, roots: Roots = systemRoots): DeviceFacts {
  const device = locateDevice(spec, roots);
  const { sysfsPath } = device;
  if (!isPresent(device)) throw noDevice(device);
  return decodeFacts(device, {
    text: (name) => readAttribute(`${sysfsPath}/${name}`),
    linkName: (name) => readLinkName(`${sysfsPath}/${name}`),
  });
}
