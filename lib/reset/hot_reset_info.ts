import { badAnswer, littleEndian } from '../core/structs.ts';

/** Whose a device is that a hot reset would hit. */
export type HotResetOwnership =
  /** Open, in the same iommufd or container as the device that asks. */
  | 'open'
  /** Not open, and in the IOMMU group of one that is: nobody else can use it. */
  | 'owned'
  /** Somebody else's, or without a VFIO driver: it forbids the reset. */
  | 'foreign';

/** A device as struct vfio_pci_dependent_device has it. */
export interface Dependent {
  address: string;
  ownership: HotResetOwnership;
  /** Its id in the iommufd where it is open there. */
  devId: number | undefined;
  /** Its IOMMU group, which is told to devices that were opened by their group. */
  group: number | undefined;
}

/** What it takes to tell whose a device is. */
export interface Claims {
  isOurs: (group: number, address: string) => boolean;
  isOpen: (address: string) => boolean;
}

const headerSize = 12;
const dependentSize = 8;

const VFIO_PCI_HOT_RESET_FLAG_DEV_ID = 1;
const VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED = 2;
const VFIO_PCI_DEVID_OWNED = 0;
const VFIO_PCI_DEVID_NOT_OWNED = 0xffffffff;

/**
 * struct vfio_pci_hot_reset_info. Of a device that was opened by its cdev it has the ids of devices in
 * the iommufd; of one that was opened by its group, their groups.
 */
export function decodeHotResetInfo(
  words: Uint32Array,
  claims: Claims,
): { owned: boolean; devices: Dependent[] } {
  const { 1: flags = 0, 2: count = 0 } = words;
  if (headerSize + count * dependentSize > words.byteLength) {
    throw badAnswer(`the kernel tells ${count} devices in ${words.byteLength} bytes`);
  }
  const view = new DataView(words.buffer, words.byteOffset, words.byteLength);
  const hasIds = (flags & VFIO_PCI_HOT_RESET_FLAG_DEV_ID) !== 0;
  const devices = Array.from({ length: count }, (_, at): Dependent => {
    const place = headerSize + at * dependentSize;
    const id = view.getUint32(place, littleEndian);
    const address = decodeAddress(view, place);
    return hasIds ? byId(address, id) : byGroup(address, id, claims);
  });
  const owned = hasIds
    ? (flags & VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED) !== 0
    : devices.every(({ ownership }) => ownership !== 'foreign');
  return { owned, devices };
}

function decodeAddress(view: DataView, at: number): string {
  const segment = view.getUint16(at + 4, littleEndian);
  const bus = view.getUint8(at + 6);
  const devfn = view.getUint8(at + 7);
  return `${hex(segment, 4)}:${hex(bus, 2)}:${hex(devfn >> 3, 2)}.${devfn & 7}`;
}

function byId(address: string, devId: number): Dependent {
  const none = { address, devId: undefined, group: undefined };
  if (devId === VFIO_PCI_DEVID_NOT_OWNED) return { ...none, ownership: 'foreign' };
  if (devId === VFIO_PCI_DEVID_OWNED) return { ...none, ownership: 'owned' };
  return { address, ownership: 'open', devId, group: undefined };
}

function byGroup(address: string, group: number, { isOurs, isOpen }: Claims): Dependent {
  const ours = isOpen(address) ? 'open' : 'owned';
  return { address, ownership: isOurs(group, address) ? ours : 'foreign', devId: undefined, group };
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0');
}
