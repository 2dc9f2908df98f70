import type { Backend, CdevLocation, DeviceFacts, DeviceInfo, RegionInfo } from '../index.ts';
import { hex, jsonText } from './text.ts';

/** The report as JSON. Sizes and offsets are hex strings: a JSON number would lose bits of 64. */
export function infoJson({ device, backend, cdev, group, info }: InfoReport): string {
  const { name, path, major, minor } = cdev ?? {};
  const report = {
    device,
    ...(backend && { backend }),
    cdev: cdev && { name, path, major, minor },
    ...(group && { group }),
    ...(info && {
      flags: info.flags,
      capabilities: info.capabilities,
      regions: info.regions.map(regionJson),
      irqs: info.irqs,
    }),
  };
  return jsonText(report);
}

function regionJson({ index, name, size, offset, flags, capabilities }: RegionInfo): object {
  return { index, name, size: hex(size), offset: hex(offset), flags, capabilities };
}

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
