import type { SysfsDevice } from '../locate/find_cdev.ts';
import { readAttribute, readLinkName } from '../locate/sysfs.ts';
import type { Cause } from '../reasons.ts';

/**
 * Whether a device is being taken from its driver, which a VFIO driver does not let go of before the
 * device is closed. Meanwhile the link to the driver is gone, and the kernel still names it.
 */
export function removalCause(device: SysfsDevice): Cause<'being-removed'> | undefined {
  const { bus, address, sysfsPath } = device;
  if (readLinkName(`${sysfsPath}/driver`) !== undefined) return undefined;
  const driver = /^DRIVER=(.+)$/m.exec(readAttribute(`${sysfsPath}/uevent`) ?? '')?.[1];
  if (driver === undefined) return undefined;
  return { reason: 'being-removed', certainty: 'certain', facts: { bus, address, driver } };
}
