import { requireObject } from '../core/arguments.ts';
import { VfioError } from '../core/errors.ts';
import type { DeviceSpec, SysfsDevice } from '../core/location.ts';
import { busyOverride, driverLeft, overrideIn } from './driver_override.ts';
import { isPresent, locateDevice, noDevice } from './find_cdev.ts';
import { type RootOptions, rootsOf } from './roots.ts';
import { readAttribute, readLinkName } from './sysfs.ts';

/**
 * What sysfs says of a device, without opening it. `null` where the device has no such attribute:
 * an mdev has no vendor, a device without an IOMMU no group.
 */
export interface DeviceFacts extends SysfsDevice {
  /** Ids as sysfs writes them: `0x1234`. */
  vendor: string | null;
  /** See `vendor`. */
  device: string | null;
  /** See `vendor`. */
  subsystemVendor: string | null;
  /** See `vendor`. */
  subsystemDevice: string | null;
  /** The PCI class code: `0x010802`. */
  class: string | null;
  /** The PCI revision: `0x02`. */
  revision: string | null;
  /** Its driver; null without one. */
  driver: string | null;
  /** The driver that it is reserved for; null where it is for none. */
  driverOverride: string | null;
  /** The number of its IOMMU group; null without one. */
  iommuGroup: number | null;
  /** The NUMA node that it is near to; null where the firmware does not say. */
  numaNode: number | null;
  /** What is there and could not be read, null above; absent where all could. */
  unread?: UnreadEntry[];
}

/** An entry of a device's folder that is there and could not be read. */
export interface UnreadEntry {
  /** The entry's name in sysfs: `numa_node`, `driver`. */
  name: string;
  /**
   * The kernel's answer, such as `EACCES`; `EBUSY` of a `driver_override` that was not asked for,
   * since the device is being taken from its driver, and reading it would wait for that.
   */
  code: string;
}

/** Where a device's attributes and links come from: read one by one, or already read. */
export interface FactSource {
  /** An attribute's text; undefined where there is none. */
  text(name: string): string | undefined;
  /** The last part of where a link points; undefined where there is none. */
  linkName(name: string): string | undefined;
}

/** The entries that {@link decodeFacts} asks for, marked as `readFolders` takes them. */
export const factEntries = [
  'vendor',
  'device',
  'subsystem_vendor',
  'subsystem_device',
  'class',
  'revision',
  'driver@',
  'driver_override:driver',
  'iommu_group@',
  'numa_node',
] as const;

/** What could not be read is noted in `unread`, and keeps nobody from the rest. */
export function decodeFacts(
  { bus, address, sysfsPath }: SysfsDevice,
  source: FactSource,
  unread: UnreadEntry[],
): DeviceFacts {
  const text = (name: string): string | null =>
    noteUnread(unread, name, () => source.text(name)) ?? null;
  const linkName = (name: string): string | null =>
    noteUnread(unread, name, () => source.linkName(name)) ?? null;
  // Without spreading, which makes 4 KB of garbage for each object, and a list has thousands.
  const facts: DeviceFacts = {
    bus,
    address,
    sysfsPath,
    vendor: text('vendor'),
    device: text('device'),
    subsystemVendor: text('subsystem_vendor'),
    subsystemDevice: text('subsystem_device'),
    class: text('class'),
    revision: text('revision'),
    driver: linkName('driver'),
    driverOverride: overrideIn(text('driver_override')),
    iommuGroup: numberOr(linkName('iommu_group')),
    numaNode: numberOr(text('numa_node')),
  };
  if (unread.length > 0) facts.unread = unread;
  return facts;
}

/**
 * What `read` answers; where it throws that the entry cannot be read, undefined, and a note of it.
 */
export function noteUnread<T>(
  unread: UnreadEntry[],
  name: string,
  read: () => T | undefined,
): T | undefined {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof VfioError)) throw error;
    unread.push({ name, code: error.code });
    return undefined;
  }
}

/** The number that a text says; null where there is none, or something else. */
export function numberOr(text: string | null | undefined): number | null {
  return text != null && /^\d{1,9}$/.test(text) ? Number(text) : null;
}

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
    text: (name: string) => {
      if (name === 'driver_override' && driverLeft(device) !== undefined)
        throw busyOverride(device);
      return readAttribute(`${sysfsPath}/${name}`);
    },
    linkName: (name: string) => readLinkName(`${sysfsPath}/${name}`),
  };
  return decodeFacts(device, source, []);
}
