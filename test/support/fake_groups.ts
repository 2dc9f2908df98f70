import { boundToVfio, type Files, pciDevice, sysfsFiles } from './sysfs.ts';
import type { Entry } from './tree.ts';

/** Groups of a sysfs: their devices by bus and address, and attributes of the groups. */
export interface FakeGroup {
  devices: Record<string, Files>;
  bus?: string;
  /** Without a newline; undefined for none. */
  type?: string;
  name?: string;
  /** Addresses whose folders are not there. */
  hidden?: readonly string[];
}

/** A sysfs with these groups, by their numbers. */
export function groupFiles(groups: Record<number, FakeGroup>): Record<string, Entry> {
  // A bus whose list of devices is not there is hidden.
  const all: Record<string, Entry> = { 'bus/pci/devices/.keep': '', 'class/net/.keep': '' };
  for (const [number, group] of Object.entries(groups)) {
    const { devices, bus = 'pci', type, name, hidden = [] } = group;
    const folder = `kernel/iommu_groups/${number}`;
    if (type !== undefined) all[`${folder}/type`] = `${type}\n`;
    if (name !== undefined) all[`${folder}/name`] = `${name}\n`;
    all[`${folder}/reserved_regions`] = '';
    for (const address of [...Object.keys(devices), ...hidden]) {
      const pointsTo = `../../../../bus/${bus}/devices/${address}`;
      all[`${folder}/devices/${address}`] = { pointsTo };
    }
    Object.assign(all, sysfsFiles({ [bus]: devices }));
  }
  return all;
}

const driver = (name: string): Entry => ({ pointsTo: `../../../bus/pci/drivers/${name}` });
/** An interface that a device has. */
const net = (address: string): Entry => ({ pointsTo: `../../devices/pci0000:00/${address}/net/x` });

/** A host with one of everything. */
export const richHost: Record<string, Entry> = {
  ...groupFiles({
    2: {
      type: 'DMA',
      devices: { '0000:3b:00.0': pciDevice(2, boundToVfio('vfio3', '511:3\n')) },
    },
    10: {
      type: 'DMA-FQ',
      devices: {
        '0000:00:1f.0': pciDevice(10, { class: '0x060100\n', driver: driver('lpc_ich') }),
        '0000:00:1f.3': pciDevice(10, { class: '0x020000\n', driver: driver('e1000e') }),
      },
    },
    11: {
      type: 'identity',
      devices: {
        '0000:00:1c.0': pciDevice(11, { class: '0x060400\n', driver: driver('pcieport') }),
        '0000:3c:00.0': pciDevice(11, boundToVfio('vfio4', '511:4\n')),
        '0000:3c:00.1': pciDevice(11, { class: '0x040300\n' }),
      },
    },
    12: {
      type: 'DMA',
      devices: { '0000:3d:00.0': pciDevice(12) },
      hidden: ['0000:3d:00.1'],
    },
    13: { type: 'DMA', devices: {}, hidden: ['0000:3e:00.0'] },
    20: {
      bus: 'mdev',
      name: 'vfio-noiommu',
      type: 'unknown',
      devices: {
        '6d747479-0000-4000-8000-000000000001': {
          uevent: '',
          subsystem: { pointsTo: '../../../bus/mdev' },
          iommu_group: { pointsTo: '../../../kernel/iommu_groups/20' },
          ...boundToVfio('vfio12', '511:12\n'),
        },
      },
    },
  }),
  'class/net/eth0': net('0000:00:1f.3'),
  'class/net/eth0x/operstate': 'up\n',
};
