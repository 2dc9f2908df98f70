import { badAnswer, littleEndian } from '../device/capabilities.ts';

/** Whose a device is that a hot reset would hit. */
export type HotResetOwnership =
  /** Open, in the same iommufd as the device that asks. */
  | 'open'
  /** Not open, and in the IOMMU group of one that is: nobody else can use it. */
  | 'owned'
  /** Somebody else's, or without a VFIO driver: it forbids the reset. */
  | 'foreign';

/** A device as struct vfio_pci_dependent_device has it. */
export interface Dependent {
  address: string;
  ownership: HotResetOwnership;
  /** Its id in the iommufd where it is open. */
  devId: number | undefined;
}

const headerSize = 12;
const dependentSize = 8;

const VFIO_PCI_HOT_RESET_FLAG_DEV_ID = 1;
const VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED = 2;
const VFIO_PCI_DEVID_OWNED = 0;
const VFIO_PCI_DEVID_NOT_OWNED = 0xffffffff;

/** struct vfio_pci_hot_reset_info of a device that was opened by its cdev. */
export function decodeHotResetInfo(words: Uint32Array): { owned: boolean; devices: Dependent[] } {
  const { 1: flags = 0, 2: count = 0 } = words;
  if ((flags & VFIO_PCI_HOT_RESET_FLAG_DEV_ID) === 0) {
    throw badAnswer('the kernel tells groups where it should tell device ids');
  }
  if (headerSize + count * dependentSize > words.byteLength) {
    throw badAnswer(`the kernel tells ${count} devices in ${words.byteLength} bytes`);
  }
  const view = new DataView(words.buffer, words.byteOffset, words.byteLength);
  return {
    owned: (flags & VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED) !== 0,
    devices: Array.from({ length: count }, (_, at) =>
      decodeDependent(view, headerSize + at * dependentSize),
    ),
  };
}

function decodeDependent(view: DataView, at: number): Dependent {
  const devId = view.getUint32(at, littleEndian);
  const segment = view.getUint16(at + 4, littleEndian);
  const bus = view.getUint8(at + 6);
  const devfn = view.getUint8(at + 7);
  const address = `${hex(segment, 4)}:${hex(bus, 2)}:${hex(devfn >> 3, 2)}.${devfn & 7}`;
  if (devId === VFIO_PCI_DEVID_NOT_OWNED)
    return { address, ownership: 'foreign', devId: undefined };
  if (devId === VFIO_PCI_DEVID_OWNED) return { address, ownership: 'owned', devId: undefined };
  return { address, ownership: 'open', devId };
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0');
}
