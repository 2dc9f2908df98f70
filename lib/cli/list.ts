import { styleText } from 'node:util';
import { listDevices, type ListedDevice } from '../index.ts';
import { type Command, exitStatus, type Invocation, type Output } from './command.ts';
import { type PciIds, systemPciIds } from './pci_ids.ts';
import { columns, jsonText } from './text.ts';

export const list: Command = {
  name: 'list',
  summary: 'List the devices that are bound to a VFIO driver',
  positionals: [],
  options: {
    json: { type: 'boolean', description: 'Print JSON, see below' },
    all: { type: 'boolean', description: 'List every device that has an IOMMU group' },
  },
  details: `Devices are in the order of bus and address. Nothing is opened.

The JSON is an array of objects with the keys bus, address, sysfsPath, vendor, device,
subsystemVendor, subsystemDevice, class, revision (strings as in sysfs), driver, driverOverride,
iommuGroup, numaNode, boundToVfio, cdev (name, path, major, minor), and for SR-IOV physfn, virtfns,
sriovNumVfs, sriovTotalVfs. What a device does not have is null.`,
  run: printList,
};

async function printList({ flags, out }: Invocation): Promise<number> {
  const devices = await listDevices();
  const shown = flags['all'] ? devices : devices.filter(({ boundToVfio }) => boundToVfio);
  if (shown.length === 0) out.note(`vfio list: ${whyNone(devices)}`);
  if (flags['json']) out.print(listJson(shown));
  else if (shown.length > 0) out.print(listText(shown, systemPciIds(), out));
  return exitStatus.ok;
}

/** The devices as JSON: keys and their order are those that `vfio list --help` names. */
export function listJson(devices: readonly ListedDevice[]): string {
  return jsonText(devices);
}

/** What a person can do who sees no device. */
export function whyNone(all: readonly ListedDevice[]): string {
  if (all.length > 0) {
    const those = all.length === 1 ? 'one device' : `${all.length} devices`;
    return `no device is bound to a VFIO driver such as vfio-pci; vfio list --all shows ${those} that may be, and vfio doctor <device> says what one lacks`;
  }
  return (
    'no device has an IOMMU group: the IOMMU is switched off in the firmware settings or on the ' +
    "kernel's command line (intel_iommu=on switches Intel's on), or the machine has none; vfio doctor says more"
  );
}

const header = ['ADDRESS', 'IDS', 'DRIVER', 'GROUP', 'CDEV', 'NAME'];
/** The column of IOMMU groups: numbers. */
const right = [3];

/** The devices as a table; the name stands last, where a narrow terminal can cut it. */
export function listText(
  devices: readonly ListedDevice[],
  ids: PciIds,
  { colour, width = Infinity }: Pick<Output, 'colour' | 'width'>,
): string {
  const rows = devices.map((device) => row(device, ids));
  const [head = '', ...lines] = columns([header, ...rows], right).map((line) => cut(line, width));
  const bold = colour ? styleText('bold', head, { validateStream: false }) : head;
  return [bold, ...lines].join('\n');
}

function row(device: ListedDevice, ids: PciIds): string[] {
  const { address, driver, iommuGroup, cdev } = device;
  const vendor = bare(device.vendor);
  const model = bare(device.device);
  const names = ids.names(vendor, model);
  const known = [names.vendor, names.device].filter((name) => name !== undefined);
  return [
    address,
    vendor === '' ? '-' : `${vendor}:${model}`,
    driver ?? '-',
    iommuGroup === null ? '-' : String(iommuGroup),
    cdev?.name ?? '-',
    known.join(' '),
  ];
}

/** `1234` of sysfs's `0x1234`. */
function bare(id: string | null): string {
  return id?.replace('0x', '') ?? '';
}

function cut(line: string, width: number): string {
  return line.length <= width ? line : `${line.slice(0, Math.max(0, width - 1))}…`;
}
