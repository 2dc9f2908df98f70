import type { Backend, CdevLocation, DeviceFacts, DeviceInfo } from '../index.ts';

/** What `vfio info` knows: sysfs's facts, and the kernel's where the device was opened. */
export interface InfoReport {
  device: DeviceFacts;
  /** How it was opened, where it was. */
  backend?: Backend | undefined;
  /** null where the device has no VFIO driver or the kernel no cdevs. */
  cdev: Omit<CdevLocation, 'device'> | null;
  /** The node of its legacy group, where it was opened by that. */
  group?: (Omit<CdevLocation, 'device'> & { why: string }) | undefined;
  /** null where the device was not opened. */
  info: DeviceInfo | null;
}
