import { invalidType, outOfRange } from '../arguments.ts';

/** A device that is bound to an iommufd, such as a VfioDevice. */
export interface BoundDevice {
  /** Its id in the iommufd. */
  readonly devId: number;
}

/** The device's id in its iommufd. @throws TypeError, RangeError */
export function devIdOf(device: unknown): number {
  if (typeof device !== 'object' || device === null || !('devId' in device)) {
    throw invalidType('device', 'a VfioDevice, or { devId }', device);
  }
  const { devId } = device;
  if (typeof devId !== 'number') throw invalidType('device.devId', 'a number', devId);
  if (Number.isInteger(devId) && devId >= 0 && devId < 2 ** 32) return devId;
  throw outOfRange('device.devId', 'an integer from 0 to 2 ** 32 - 1', devId);
}
