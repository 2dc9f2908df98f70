import { listDevices, type ListedDevice } from '../index.ts';
import { type Command, exitStatus, type Invocation } from './command.ts';
import { listText } from './list_text.ts';
import { systemPciIds } from './pci_ids.ts';
import { jsonText } from './text.ts';

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
    return `no device is bound to a VFIO driver such as vfio-pci; vfio list --all shows ${those} that may be`;
  }
  return (
    'no device has an IOMMU group: the IOMMU is switched off in the firmware settings or on the ' +
    "kernel's command line (intel_iommu=on switches Intel's on), or the machine has none"
  );
}
