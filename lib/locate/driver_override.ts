import { EBUSY } from '../core/errno.ts';
import { systemError, type VfioError } from '../core/errors.ts';
import type { SysfsDevice } from '../core/location.ts';
import { readAttribute, readLinkName } from './sysfs.ts';

// Reading `driver_override` waits for the lock of the device in most kernels (driver_override_show,
// drivers/pci/pci-sysfs.c until it became a part of the driver core; the fsl-mc and cdx buses'). While
// a device is being taken from a VFIO driver the lock is held until the device is closed, and no
// signal ends that wait: so it is not read then.

/** The driver that the kernel names in `uevent`. */
export function driverInUevent(text: string | undefined): string | undefined {
  return /^DRIVER=(.+)$/m.exec(text ?? '')?.[1];
}

/**
 * The driver from which a device is being taken, which a VFIO driver does not let go of before the
 * device is closed; undefined where it is not. Meanwhile the link to the driver is gone, and the
 * kernel still names it.
 */
export function driverLeft({ sysfsPath }: Pick<SysfsDevice, 'sysfsPath'>): string | undefined {
  if (readLinkName(`${sysfsPath}/driver`) !== undefined) return undefined;
  return driverInUevent(readAttribute(`${sysfsPath}/uevent`));
}

/**
 * The driver that a device's `driver_override` names; null where it names none, or the bus has no
 * such file, and while the device is being taken from its driver.
 */
export function readOverride(device: Pick<SysfsDevice, 'sysfsPath'>): string | null {
  if (driverLeft(device) !== undefined) return null;
  return overrideIn(readAttribute(`${device.sysfsPath}/driver_override`));
}

/** The driver that the text of `driver_override` names; null where it names none. */
export function overrideIn(text: string | null | undefined): string | null {
  return text === undefined || text === '(null)' || text === '' ? null : text;
}

/** What is said of the file while it is not read. */
export function busyOverride({ sysfsPath }: Pick<SysfsDevice, 'sysfsPath'>): VfioError {
  return systemError({ errno: EBUSY, syscall: 'read', path: `${sysfsPath}/driver_override` });
}
