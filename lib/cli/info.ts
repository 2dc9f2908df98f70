import { styleText } from 'node:util';
import {
  type Backend,
  type CdevLocation,
  describeDevice,
  type DeviceCapability,
  type DeviceFacts,
  type DeviceInfo,
  findCdev,
  type OpenDeviceOptions,
  type RegionCapability,
  type RegionInfo,
  VfioDevice,
  VfioError,
} from '../index.ts';
import {
  aboutBackends,
  backendOption,
  type Command,
  exitStatus,
  type Invocation,
  isByCdev,
  openOptions,
} from './command.ts';
import { bytes, columns, hex, jsonText } from './text.ts';
import { hintOf } from './words.ts';

export const info: Command = {
  name: 'info',
  summary: 'Open a device and print what the kernel says of it',
  positionals: ['device'],
  options: {
    json: { type: 'boolean', description: 'Print JSON; 64-bit values are hex strings' },
    'no-open': { type: 'boolean', description: 'Do not open the device; print what sysfs says' },
    ...backendOption,
  },
  details: `<device> is a PCI address (0000:3b:00.0 or 3b:00.0), the UUID of an mdev, a path in sysfs, or a
node such as /dev/vfio/devices/vfio0. It must be bound to a VFIO driver such as vfio-pci.

Opening a device resets it where it can be reset, and closing it does so again. With --no-open
nothing is touched. Where another program holds the device, what sysfs says is printed and the exit
status is 3.

${aboutBackends}`,
  run: printInfo,
};

async function printInfo(invocation: Invocation): Promise<number> {
  const { positionals, flags, out } = invocation;
  const [spec = ''] = positionals;
  const options = openOptions(invocation);
  const device = describeDevice(spec);
  const found = flags['no-open'] ? look(spec) : await open(spec, options);
  for (const note of found.notes) out.note(note);
  const { backend, cdev, group, info } = found;
  const report: InfoReport = { device, backend, cdev, group, info };
  out.print(flags['json'] ? infoJson(report) : infoText(report, out.colour));
  return found.status;
}

/** What a look at the device, or its opening, found out. */
interface Found extends Pick<InfoReport, 'backend' | 'cdev' | 'group' | 'info'> {
  notes: string[];
  status: number;
}

async function open(spec: string, options: OpenDeviceOptions): Promise<Found> {
  try {
    await using device = await VfioDevice.open(spec, options);
    const { name, path, major, minor, info, backend } = device;
    const node = { name, path, major, minor };
    const found = { backend, info, notes: [], status: exitStatus.ok };
    if (isByCdev(device)) return { ...found, cdev: node };
    return { ...found, cdev: null, group: { ...node, why: backend.why } };
  } catch (error) {
    if (!isHeld(error)) throw error;
    const notes = notesOf(`the device is in use (${error.message})`, error);
    return { ...look(spec), notes, status: exitStatus.held };
  }
}

/** The cdev, or why there is none; a device that is not there throws in describeDevice before. */
function look(spec: string): Found {
  try {
    return { cdev: findCdev(spec), info: null, notes: [], status: exitStatus.ok };
  } catch (error) {
    if (!(error instanceof VfioError)) throw error;
    const notes = notesOf(error.message, error);
    return { cdev: null, info: null, notes, status: exitStatus.ok };
  }
}

function notesOf(what: string, error: VfioError): string[] {
  const hint = hintOf(error);
  return [`vfio info: ${what}`, ...(hint === undefined ? [] : [`hint: ${hint}`])];
}

/** By what it was found to be, or would be if it were looked for longer. */
function isHeld(error: unknown): error is VfioError {
  return (
    error instanceof VfioError &&
    (error.reason === 'held-by-cdev' || error.reason === 'held-by-group')
  );
}

/** The report as JSON. Sizes and offsets are hex strings: a JSON number would lose bits of 64. */
export function infoJson({ device, backend, cdev, group, info }: InfoReport): string {
  const { name, path, major, minor } = cdev ?? {};
  const report = {
    device,
    ...(backend && { backend }),
    cdev: cdev && { name, path, major, minor },
    ...(group && { group }),
    ...(info && {
      flags: info.flags,
      capabilities: info.capabilities,
      regions: info.regions.map(regionJson),
      irqs: info.irqs,
    }),
  };
  return jsonText(report);
}

function regionJson({ index, name, size, offset, flags, capabilities }: RegionInfo): object {
  return { index, name, size: hex(size), offset: hex(offset), flags, capabilities };
}

/** What `vfio info` knows: sysfs's facts, and the kernel's where the device was opened. */
export interface InfoReport {
  device: DeviceFacts;
  /** How it was opened, where it was. */
  backend?: Backend | undefined;
  /** null where the device has no VFIO driver or the kernel no cdevs. */
  cdev: Omit<CdevLocation, 'device'> | null;
  /** The node of its legacy group, where it was opened by that. */
  group?: (Omit<CdevLocation, 'device'> & { why: string }) | undefined;
  /** null where the device was not opened. */
  info: DeviceInfo | null;
}

/** The report for a person. */
export function infoText(report: InfoReport, colour: boolean): string {
  const { device, backend, cdev, group, info } = report;
  const bold = (text: string): string =>
    colour ? styleText('bold', text, { validateStream: false }) : text;
  const ids = device.vendor === null ? '' : `  [${bare(device.vendor)}:${bare(device.device)}]`;
  const facts: [string, string | number | null | undefined][] = [
    ['bus', device.bus],
    ['class', device.class],
    ['driver', device.driver],
    ['IOMMU group', device.iommuGroup],
    ['NUMA node', device.numaNode],
    [
      'backend',
      backend && `${backend.kind}${backend.isolated ? '' : ': its DMA reaches all memory'}`,
    ],
    ['cdev', cdev && `${cdev.path} (${cdev.major}:${cdev.minor})`],
    ['group', group && `${group.path} (${group.major}:${group.minor}): ${group.why}`],
    ['flags', info?.flags.join(' ')],
    ['capabilities', info?.capabilities.map(capabilityText).join(', ')],
  ];
  const known = facts.filter(([, value]) => value != null && value !== '');
  const lines = columns(known.map(([name, value]) => [`  ${name}`, String(value)]));
  return [bold(device.address) + ids, ...lines, ...(info ? detailLines(info, bold) : [])].join(
    '\n',
  );
}

function detailLines(info: DeviceInfo, bold: (text: string) => string): string[] {
  const regions = info.regions
    .filter(({ size }) => size > 0)
    .map(({ index, name, size, offset, flags, capabilities }) => [
      `  ${index}`,
      name,
      bytes(size),
      hex(offset),
      [flags.join(' '), ...capabilities.map(capabilityText)].join('; '),
    ]);
  const irqs = info.irqs
    .filter(({ count }) => count > 0)
    .map(({ index, name, count, flags }) => [`  ${index}`, name, String(count), flags.join(' ')]);
  const table = (title: string, header: string[], rows: string[][], right: number[]): string[] =>
    rows.length === 0
      ? ['', `${bold(title)}: none`]
      : ['', bold(title), ...columns([header, ...rows], right)];
  return [
    ...table('Regions', ['  #', 'name', 'size', 'offset', 'flags'], regions, [2]),
    ...table('Interrupts', ['  #', 'name', 'count', 'flags'], irqs, [2]),
  ];
}

function capabilityText(capability: DeviceCapability | RegionCapability): string {
  switch (capability.kind) {
    case 'sparse-mmap': {
      const areas = capability.areas.map(({ offset, size }) => `${hex(offset)}+${hex(size)}`);
      return `mappable: ${areas.join(', ')}`;
    }
    case 'type':
      return `type ${hex(capability.type)} subtype ${hex(capability.subtype)}`;
    case 'msix-mappable':
      return 'MSI-X table mappable';
    case 'pci-atomic-comp':
      return `PCIe atomic completion ${capability.flags.join(' ')}`;
    case 'unknown':
      return `capability ${capability.id} version ${capability.version}`;
  }
}

/** `1234` of sysfs's `0x1234`. */
function bare(id: string | null): string {
  return id?.replace('0x', '') ?? '';
}
