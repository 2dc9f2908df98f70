import type { SysfsDevice } from '../core/location.ts';
import { readOverride } from '../locate/driver_override.ts';
import { readLinkName } from '../locate/sysfs.ts';

/** What binds a device: its driver, and the name that its `driver_override` has. */
export interface DriverState {
  /** Its driver; null without one. */
  driver: string | null;
  /** The driver that it is reserved for; null where it is for none, or has no such file. */
  driverOverride: string | null;
}

/** A device, and with which driver it was and is. */
export interface DriverChange {
  /** The bus: `pci`, `platform`, … */
  bus: string;
  /** Its address on the bus. */
  address: string;
  /** As sysfs said before. */
  before: DriverState;
  /**
   * As sysfs says when all is done; of a dry run, what it would be. There `driver` is undefined
   * where the kernel would choose it.
   */
  after: { driver: string | null | undefined; driverOverride: string | null };
  /** Whether anything changed, or would change. */
  changed: boolean;
}

/** What was done, or would be, in its order. */
export type DriverStep =
  /** A module was loaded. */
  | { kind: 'modprobe'; module: string }
  /** A text was written to a file of sysfs, which stands until the next start. */
  | { kind: 'write'; path: string; text: string }
  /** A file was written, which stays. */
  | { kind: 'file'; path: string; text: string }
  /** A file was removed. */
  | { kind: 'remove'; path: string };

/** What became of devices that were given to a driver, or given back. */
export interface DriverReport {
  /** Nothing was changed: all of it says what would be. */
  dryRun: boolean;
  /** The devices that were asked for, and those of their groups where these were. */
  devices: DriverChange[];
  /** Devices of the IOMMU group that stay as they are, which the kernel does not mind. */
  leftOut: { bus: string; address: string; driver: string | null; why: string }[];
  /** What was done, or would be, in its order. */
  steps: DriverStep[];
  /** What else is to be known, in sentences: what could not be looked at, what was forced. */
  notes: string[];
}

/** What sysfs says now; no `driver_override` while it is being taken from its driver. */
export function stateOf({ sysfsPath }: SysfsDevice): DriverState {
  return {
    driver: readLinkName(`${sysfsPath}/driver`) ?? null,
    driverOverride: readOverride({ sysfsPath }),
  };
}

/** For messages: `with nvme`, `without a driver`. */
export function stateText({ driver }: DriverState): string {
  return driver === null ? 'without a driver' : `with ${driver}`;
}
