import type { CdevLocation, DeviceSpec } from '../core/location.ts';
import { describeDevice as describe, type DeviceFacts } from '../locate/facts.ts';
import { findCdev as find } from '../locate/find_cdev.ts';
import { type RootOptions, rootsOf } from '../locate/roots.ts';
import { explainSync } from './explain.ts';
import { subjectOf } from './subject.ts';

// What people look up without opening it: the same answers, their errors explained.

/**
 * The cdev of the device that `spec` names: `<device>/vfio-dev/vfioN/dev` in sysfs holds its numbers.
 * Its node is not looked for; only where `spec` is a node is that one the location's path.
 *
 * @throws TypeError, RangeError for what cannot name a device
 * @throws VfioError `ERR_VFIO_NO_DEVICE`, `ERR_VFIO_NOT_BOUND_TO_VFIO`, `ERR_VFIO_NO_CDEV`; where
 *   `spec` is a node, `ERR_VFIO_NODE_MISMATCH` and of stat `ENOENT`; where it is a descriptor `EBADF`
 */
export function findCdev(spec: DeviceSpec, options: RootOptions = {}): CdevLocation {
  return lookUp(spec, options, () => find(spec, options));
}

/**
 * Reads what sysfs says of a device.
 *
 * @throws TypeError, RangeError for what cannot name a device
 * @throws VfioError `ERR_VFIO_NO_DEVICE`
 */
export function describeDevice(spec: DeviceSpec, options: RootOptions = {}): DeviceFacts {
  return lookUp(spec, options, () => describe(spec, options));
}

function lookUp<T>(spec: DeviceSpec, options: RootOptions, look: () => T): T {
  try {
    return look();
  } catch (error) {
    throw explainSync(error, () => subjectOf(spec, rootsOf(options)));
  }
}
