import type { DeviceFacts } from '../../lib/index.ts';
import type { Entry } from './tree.ts';

/** What a device's folder holds. */
export type Files = Record<string, Entry>;

/** A PCI device as the kernel shows it, `more` besides; with a group, without a driver. */
export function pciDevice(group: number, more: Files = {}): Files {
  return {
    uevent: 'PCI_CLASS=10802\n',
    subsystem: { pointsTo: '../../../bus/pci' },
    iommu_group: { pointsTo: `../../../kernel/iommu_groups/${group}` },
    vendor: '0x1b36\n',
    device: '0x0010\n',
    subsystem_vendor: '0x1af4\n',
    subsystem_device: '0x1100\n',
    class: '0x010802\n',
    revision: '0x02\n',
    driver_override: '(null)\n',
    numa_node: '-1\n',
    ...more,
  };
}

/** What a device has on top when vfio-pci has it. */
export function boundToVfio(name: string, dev?: string): Files {
  return {
    driver: { pointsTo: '../../../bus/pci/drivers/vfio-pci' },
    driver_override: 'vfio-pci\n',
    [`vfio-dev/${name}/uevent`]: 'DEVNAME=vfio/devices/vfio0\n',
    ...(dev !== undefined && { [`vfio-dev/${name}/dev`]: dev }),
  };
}

/** What is read of a {@link pciDevice} of group 11 when vfio-pci has it. */
export function boundFacts(address: string, sysfsRoot: string): Omit<DeviceFacts, 'numaNode'> {
  return {
    bus: 'pci',
    address,
    sysfsPath: `${sysfsRoot}/bus/pci/devices/${address}`,
    vendor: '0x1b36',
    device: '0x0010',
    subsystemVendor: '0x1af4',
    subsystemDevice: '0x1100',
    class: '0x010802',
    revision: '0x02',
    driver: 'vfio-pci',
    driverOverride: 'vfio-pci',
    iommuGroup: 11,
  };
}

/** The files of a sysfs with these devices: by bus, then by address. */
export function sysfsFiles(buses: Record<string, Record<string, Files>>): Files {
  const all: Files = {};
  for (const [bus, devices] of Object.entries(buses)) {
    for (const [address, files] of Object.entries(devices)) {
      for (const [name, entry] of Object.entries(files)) {
        all[`bus/${bus}/devices/${address}/${name}`] = entry;
      }
    }
  }
  return all;
}
