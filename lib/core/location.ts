/**
 * A way to open a device: by its cdev and an iommufd; by its legacy group and a type1 container; by
 * its group with an iommufd as container; or without an IOMMU.
 */
export type BackendKind = 'cdev' | 'group' | 'compat' | 'noiommu';

/** How a device was opened. */
export interface Backend {
  /** The way: the device's cdev, or its legacy group. */
  kind: BackendKind;
  /** Whether an IOMMU confines the device's DMA to what is mapped for it. */
  isolated: boolean;
  /** Why this one: `asked for`, or what the others lack. */
  why: string;
}

/** A device as sysfs names it: `/sys/bus/<bus>/devices/<address>`. */
export interface DeviceAddress {
  /** The bus: `pci`, `mdev`, `platform`, … */
  bus: string;
  /** The device's name on it: `0000:3b:00.0` on PCI, a UUID for an mdev. */
  address: string;
}

/**
 * What names a device:
 *
 * - `'0000:3b:00.0'`, or `'3b:00.0'` in the domain 0000;
 * - an mdev's UUID;
 * - `{ bus, address }`, as in sysfs;
 * - a device's path in sysfs: `/sys/bus/<bus>/devices/<address>`, or any other that leads to it;
 * - its node, `/dev/vfio/devices/vfioN` or `/dev/char/<major>:<minor>`: the device is the one whose
 *   numbers the node has, whatever the node is called;
 * - the number of a descriptor that is open on its node. It tells which device is meant and is not
 *   used besides: the device's node is opened anew, and the descriptor stays the caller's.
 */
export type DeviceSpec = string | number | DeviceAddress;

/** A device in sysfs. */
export interface SysfsDevice extends DeviceAddress {
  /** `/sys/bus/<bus>/devices/<address>` */
  sysfsPath: string;
}

/** What sysfs says of the node by which a device is opened. */
export interface NodeLocation {
  /** The device that it is of. */
  device: SysfsDevice;
  /** The kernel's name for the node. */
  name: string;
  /** The node's major number. */
  major: number;
  /** The node's minor number. */
  minor: number;
  /** The node that should have these numbers: only fstat of the opened node tells. */
  path: string;
}

/**
 * What sysfs says of a device's VFIO cdev: its name is `vfioN` (`noiommu-vfioN` without an IOMMU).
 */
export type CdevLocation = NodeLocation;

/** What sysfs says of a device's legacy group: its name is `N` (`noiommu-N` without an IOMMU). */
export interface GroupLocation extends NodeLocation {
  /** The number of the IOMMU group. */
  group: number;
}

/** {@link RootOptions} with both filled in. */
export interface Roots {
  sysfsRoot: string;
  devRoot: string;
}
