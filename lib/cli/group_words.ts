import { type ListedGroup, type ListedGroupDevice, printable } from '../index.ts';

/** What is said of a group in text and in pictures alike. */
export interface GroupWords {
  /** `group 12` */
  title: string;
  /** How it is translated: `DMA-FQ`. */
  type: string;
  /** Whether it can be given away, and why not. */
  verdict: string;
}

export function groupWords(group: ListedGroup): GroupWords {
  const type = typeOf(group);
  return {
    title: printable(`group ${group.group}`),
    type,
    verdict: `${type}, ${verdictOf(group)}`,
  };
}

/** The kernel's name of the type, or what there is in an IOMMU's place. */
export function typeOf({ isolation, type }: ListedGroup): string {
  if (isolation === 'none') return 'NO IOMMU';
  if (isolation === 'emulated') return 'confined by its driver';
  return printable(type ?? 'type not to be seen');
}

export function verdictOf({ isolation, viability, devices, hidden }: ListedGroup): string {
  if (viability === 'unknown') {
    const some = devices.length > 0 || hidden.length > 0;
    return some ? 'not all of its devices are to be seen' : 'its devices are not to be seen';
  }
  if (viability === 'not-viable') {
    const drivers = devices.filter(({ verdict }) => verdict === 'host-driver');
    const names = [...new Set(drivers.map(({ driver }) => driver ?? ''))];
    return `not viable: the host has it (${names.join(', ')})`;
  }
  return isolation === 'none' ? 'viable, and reaches all memory' : 'viable';
}

/** How a device stands in its group. */
export function stateOf({ boundToVfio, cdev, driver, bridge, verdict }: ListedGroupDevice): string {
  if (boundToVfio) return cdev === null ? 'VFIO' : `VFIO, ${cdev.name}`;
  if (bridge) return 'a bridge: stays with the host';
  if (verdict === 'host-driver') return "the host's";
  return driver === null ? 'free: no driver' : 'free: its driver does no DMA';
}

/** What the host has of it: `sda1 (mounted at /), eth0 (up)`, and what could not be looked at. */
export function usesOf({ uses = [], unseen = [] }: ListedGroupDevice): string {
  const seen = uses.map(({ name, now }) => (now === null ? name : `${name} (${now})`));
  const hidden = unseen.length === 0 ? [] : [`${unseen.join(', ')}: not to be seen`];
  return [...seen, ...hidden].join(', ');
}

/** `8086:10d3` */
export function idsOf({ vendor, device }: ListedGroupDevice): string {
  if (vendor === null || device === null) return '-';
  return `${vendor.replace('0x', '')}:${device.replace('0x', '')}`;
}
