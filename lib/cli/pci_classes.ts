import type { ListedDevice } from '../index.ts';

/** PCI's classes, by the first one or two bytes of the code (PCI Code and ID Assignment). */
const classes: Readonly<Record<string, string>> = {
  '00': 'unclassified',
  '01': 'storage controller',
  '0100': 'SCSI controller',
  '0101': 'IDE controller',
  '0104': 'RAID controller',
  '0106': 'SATA controller',
  '0107': 'SAS controller',
  '0108': 'NVMe controller',
  '02': 'network controller',
  '0200': 'Ethernet controller',
  '0207': 'InfiniBand controller',
  '03': 'display controller',
  '0300': 'VGA controller',
  '0302': '3D controller',
  '04': 'multimedia device',
  '0401': 'audio device',
  '0403': 'audio device (HDA)',
  '05': 'memory controller',
  '0502': 'CXL memory',
  '06': 'bridge',
  '0600': 'host bridge',
  '0601': 'ISA bridge',
  '0604': 'PCI bridge',
  '0607': 'CardBus bridge',
  '0609': 'PCI bridge (semi-transparent)',
  '07': 'communication controller',
  '0700': 'serial controller',
  '08': 'system peripheral',
  '0801': 'DMA controller',
  '0805': 'SD host controller',
  '0806': 'IOMMU',
  '0807': 'root complex event collector',
  '09': 'input device',
  '0a': 'docking station',
  '0b': 'processor',
  '0b40': 'co-processor',
  '0c': 'serial bus controller',
  '0c03': 'USB controller',
  '0c05': 'SMBus controller',
  '0c80': 'serial bus controller',
  '0d': 'wireless controller',
  '0d11': 'Bluetooth controller',
  '0d80': 'wireless controller',
  '0e': 'intelligent controller',
  '0f': 'satellite controller',
  '10': 'encryption controller',
  '11': 'signal processing controller',
  '12': 'processing accelerator',
  '13': 'instrumentation',
  ff: 'unassigned class',
};

/** What a device is, in words: its class on PCI, its bus elsewhere. */
export function classOf({ bus, class: code }: Pick<ListedDevice, 'bus' | 'class'>): string {
  if (bus === 'mdev') return 'mediated device';
  const digits = /^0x([0-9a-f]{6})$/.exec(code ?? '')?.[1];
  if (digits === undefined) return `${bus} device`;
  return classes[digits.slice(0, 4)] ?? classes[digits.slice(0, 2)] ?? `class ${digits}`;
}
