import type { Lane } from './kernel/kernel.ts';

/** Where a device of the lab is, and how QEMU makes it. Slots are of the root bus, "02.0". */
export interface PciDevice {
  name: string;
  kind: string;
  slot: string;
  /** The slot holds a root port, and the device is behind that. */
  behindPort: boolean;
  /** The model with its properties, without id, bus and address. */
  model: string;
  /** The device is backed by a disk of its own. */
  disk?: true;
  /** Whether other functions share the slot. */
  multifunction?: true;
}

/** A mediated device: one of the kernel's samples, made without any hardware. */
interface MediatedDevice {
  name: string;
  kind: string;
  uuid: string;
  /** The end of the type's name in sysfs. */
  type: string;
}

export const MAX_ROOT_NVME = 24;
const FIRST_NVME_SLOT = 7;

/** Slots 1 to 6; see docs/lab.md. Slot 1 is the lab's own, slot 0x1f belongs to the chip set. */
const FIXED: readonly PciDevice[] = [
  { name: 'edu', kind: 'edu', slot: '02.0', behindPort: false, model: 'edu' },
  {
    name: 'testdev',
    kind: 'pci-testdev',
    slot: '03.0',
    behindPort: false,
    model: 'pci-testdev,membar=64M',
  },
  { name: 'edu-port', kind: 'edu', slot: '04.0', behindPort: true, model: 'edu' },
  {
    name: 'nvme-port',
    kind: 'nvme',
    slot: '05.0',
    behindPort: true,
    model: 'nvme,serial=nvme-port',
    disk: true,
  },
  {
    name: 'e1000e-port',
    kind: 'e1000e',
    slot: '06.0',
    behindPort: true,
    model: 'e1000e',
    multifunction: true,
  },
  {
    name: 'nvme-sriov',
    kind: 'nvme',
    slot: '06.1',
    behindPort: true,
    model:
      'nvme,serial=nvme-sriov,subsys=nvme-sriov-subsys,sriov_max_vfs=4,sriov_vq_flexible=8,' +
      'sriov_vi_flexible=4,max_ioqpairs=10,msix_qsize=10',
    multifunction: true,
  },
];

export function pciDevices(rootNvme: number): PciDevice[] {
  const nvme = Array.from({ length: rootNvme }, (_, index): PciDevice => {
    const name = `nvme${index}`;
    const slot = `${(FIRST_NVME_SLOT + index).toString(16).padStart(2, '0')}.0`;
    return {
      name,
      kind: 'nvme',
      slot,
      behindPort: false,
      model: `nvme,serial=${name}`,
      disk: true,
    };
  });
  return [...FIXED, ...nvme];
}

const MEDIATED: readonly MediatedDevice[] = [
  { name: 'mtty', kind: 'mtty', uuid: '6d747479-0000-4000-8000-000000000001', type: 'mtty-1' },
  { name: 'mdpy', kind: 'mdpy', uuid: '6d647079-0000-4000-8000-000000000001', type: 'mdpy-vga' },
  {
    name: 'mbochs',
    kind: 'mbochs',
    uuid: '6d626f63-6873-4000-8000-000000000001',
    type: 'mbochs-small',
  },
];

/** Debian does not build the kernel's samples. */
function mediatedDevices(lane: Lane): readonly MediatedDevice[] {
  return lane === 'stock' ? [] : MEDIATED;
}

/** One device a line, as guest/boot reads them: name kind bus where extra. */
export function deviceLines(lane: Lane, rootNvme: number): string {
  const pci = pciDevices(rootNvme).map(
    ({ name, kind, slot, behindPort }) =>
      `${name} ${kind} pci ${slot}${behindPort ? ' behind' : ''}`,
  );
  const mediated = mediatedDevices(lane).map(
    ({ name, kind, uuid, type }) => `${name} ${kind} mdev ${uuid} ${type}`,
  );
  return [...pci, ...mediated].join('\n');
}
