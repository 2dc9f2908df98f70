import { requireObject } from '../arguments.ts';
import type { DeviceSpec } from './address.ts';
import { decodeFacts, type DeviceFacts } from './facts.ts';
import { isPresent, locateDevice, noDevice } from './find_cdev.ts';
import { rootsOf, type RootOptions } from './roots.ts';
import { readAttribute, readLinkName } from './sysfs.ts';

/**
 * Reads what sysfs says of a device.
 *
 * @throws TypeError for an address that cannot be one
 * @throws VfioError `ERR_VFIO_NO_DEVICE`
 */
export function describeDevice(spec: DeviceSpec, options: RootOptions = {}): DeviceFacts {
  requireObject('options', options);
  const roots = rootsOf(options);
  const device = locateDevice(spec, roots);
  const { sysfsPath } = device;
  if (!isPresent(device)) throw noDevice(device, roots);
  const source = {
    text: (name: string) => readAttribute(`${sysfsPath}/${name}`),
    linkName: (name: string) => readLinkName(`${sysfsPath}/${name}`),
  };
  return decodeFacts(device, source, []);
}
