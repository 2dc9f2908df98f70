import {
  describeDevice,
  findCdev,
  type OpenDeviceOptions,
  VfioDevice,
  VfioError,
} from '../index.ts';
import { aboutBackends, backendOption, isByCdev, openOptions } from './backend.ts';
import { type Command, exitStatus, type Invocation } from './command.ts';
import { hintOf } from './hints.ts';
import { infoJson, type InfoReport } from './info_json.ts';
import { infoText } from './info_text.ts';

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
