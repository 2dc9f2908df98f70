import {
  bindDriver,
  type BindDriverOptions,
  type DriverChange,
  type DriverReport,
  type DriverStep,
  restoreDriver,
} from '../index.ts';
import { type Command, exitStatus, type Invocation, type Options, usageError } from './command.ts';
import { columns, jsonText } from './text.ts';

const common: Options = {
  group: { type: 'boolean', description: 'Take every device of the IOMMU group, bridges aside' },
  'dry-run': { type: 'boolean', description: 'Say what would be done; change nothing' },
};

const more: Options = {
  timeout: {
    ...{ type: 'string', placeholder: 'ms' },
    description: 'Milliseconds to wait for the kernel; 10000 by default',
  },
  json: { type: 'boolean', description: 'Print JSON, see below' },
};

const aboutJson = `The JSON is an object: dryRun; devices, each with bus, address, before and after (driver and
driverOverride; null where there is none) and changed; leftOut (devices of the group that stay);
steps (what was done: kind modprobe with module, write or file with path and text, remove with
path); notes (sentences).`;

export const bind: Command = {
  name: 'bind',
  summary: 'Give devices to vfio-pci, or to another driver',
  positionals: ['device…'],
  devices: 'all',
  options: {
    driver: {
      ...{ type: 'string', placeholder: 'name' },
      description: 'The driver; without it VFIO’s own for this model',
    },
    ...common,
    persist: { type: 'boolean', description: 'At every start of the machine as well' },
    force: { type: 'boolean', description: 'Take also what the host needs, but no bridge' },
    ...more,
  },
  details: `All devices are given, or none. The driver is chosen by driver_override; on PCI it is the variant of
vfio-pci that the kernel has for the model, such as mlx5_vfio_pci, where there is one. What each
device had is remembered in /run/vfio until the next start, and vfio unbind gives it back, also
where this command was killed in the middle.

Refused is what the host needs, unless --force insists: a disk that is mounted, swapped to or part of
another; the network card of the default route, of this SSH connection, of a bridge or a bond; the
display of the start; virtual functions; what a program has open; and always a PCI bridge. A --driver
that is not made for the device is refused, too: with --force it may crash the kernel.

--persist writes a udev rule to /etc/udev/rules.d, which --dry-run shows; no file that it did not write
is replaced, and where the rule cannot be written no device is touched. A driver that the initramfs
loads comes before it: rebuild that, too.

${aboutJson}`,
  run: (invocation) => change(invocation, bindDriver),
};

export const unbind: Command = {
  name: 'unbind',
  summary: 'Give devices back to the drivers that they had',
  positionals: ['device…'],
  options: {
    ...common,
    persist: { type: 'boolean', description: 'Remove what vfio bind --persist wrote' },
    force: { type: 'boolean', description: 'Also where a program has it open: ask it, and wait' },
    ...more,
  },
  details: `Each device gets the driver and the driver_override that it had before vfio bind. A VFIO device of
which nothing is remembered goes to whichever driver of the host takes it.

--persist removes the rule; of a device that was pulled out, by its address, the rule alone. Where there
is none it says so, and does the rest.

With --force the kernel asks the program that has the device open to close it, and waits for it;
the time that this command waits is --timeout.

${aboutJson}`,
  run: (invocation) => change(invocation, restoreDriver),
};

type Act = (devices: string[], options: BindDriverOptions) => Promise<DriverReport>;

async function change(invocation: Invocation, act: Act): Promise<number> {
  const { positionals, flags, out } = invocation;
  const report = await act(positionals, optionsOf(invocation));
  for (const note of report.notes) out.note(`note: ${note}`);
  if (report.dryRun && report.steps.length > 0 && process.geteuid?.() !== 0)
    out.note('note: to do it takes root (sudo), and to look, as here, does not');
  out.print(flags['json'] === true ? jsonText(report) : reportText(report));
  return exitStatus.ok;
}

function optionsOf({ flags, values }: Invocation): BindDriverOptions {
  const { driver, timeout } = values;
  return {
    ...(driver !== undefined && { driver }),
    ...(timeout !== undefined && { timeout: millisecondsOf(timeout) }),
    group: flags['group'] === true,
    dryRun: flags['dry-run'] === true,
    persist: flags['persist'] === true,
    force: flags['force'] === true,
  };
}

function millisecondsOf(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw usageError('--timeout', 'a number of milliseconds, such as 10000', text);
}

/** A line for each device: what was, and what is. */
export function reportText({ dryRun, devices, leftOut, steps }: DriverReport): string {
  const lines = columns([
    ...devices.map((device) => changeRow(device, dryRun)),
    ...leftOut.map(({ address, driver, why }) => [address, driver ?? 'no driver', `stays: ${why}`]),
  ]);
  // What stays after the next start is shown in any case, the rest where nothing else would tell.
  const shown = steps.filter(({ kind }) => dryRun || kind !== 'write');
  return [...lines, ...shown.map((step) => stepText(step, dryRun))].join('\n');
}

function changeRow({ address, before, after, changed }: DriverChange, dryRun: boolean): string[] {
  const was = before.driver ?? 'no driver';
  const is = after.driver === undefined ? 'a driver of the host' : (after.driver ?? 'no driver');
  if (!changed) return [address, was, dryRun ? 'would stay so' : 'as it was'];
  return [address, was, `${dryRun ? 'would go to' : 'now'} ${is}`];
}

function stepText(step: DriverStep, dryRun: boolean): string {
  const would = dryRun ? 'would be ' : '';
  switch (step.kind) {
    case 'modprobe':
      return `module ${step.module} ${would}loaded`;
    case 'write':
      return `${JSON.stringify(step.text)} ${would}written to ${step.path}`;
    case 'file':
      return [`${step.path} ${would}written:`, ...step.text.trimEnd().split('\n')].join('\n  ');
    case 'remove':
      return `${step.path} ${would}removed`;
  }
}
