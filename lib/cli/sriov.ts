import { styleText } from 'node:util';
import {
  describeSriov,
  type HostNeed,
  type PhysicalFunction,
  planVfs,
  setVfs,
  type VfsStep,
  type VirtualFunction,
} from '../index.ts';
import {
  type Command,
  exitStatus,
  type Invocation,
  misuse,
  type Output,
  usageError,
} from './command.ts';
import { columns, jsonText } from './text.ts';

export const sriov: Command = {
  name: 'sriov',
  summary: 'Show, make and remove the virtual functions of a device',
  positionals: ['pf'],
  devices: 'physical-functions',
  options: {
    vfs: {
      type: 'string',
      placeholder: 'count',
      description: 'Have so many; those that there are are removed first',
    },
    'no-probe': { type: 'boolean', description: "Offer new ones to none of the host's drivers" },
    probe: { type: 'boolean', description: "Offer new ones to the host's drivers again" },
    'dry-run': { type: 'boolean', description: 'Say what --vfs would do; do nothing' },
    json: { type: 'boolean', description: 'Print JSON, see below' },
  },
  details: `<pf> is the physical function, named as for vfio info. Without --vfs it is shown with its virtual
functions, the driver and IOMMU group of each, and what uses it.

The kernel changes no number of virtual functions but 0, so --vfs removes all of them before it makes
others, and makes as many as before where that fails. None is removed while the host or a program
has one, or while a program has the physical function open by VFIO. Only root may do it.

--no-probe, and --probe, stay in force for later ones (sriov_drivers_autoprobe).

The JSON is an object with the keys address, sysfsPath, driver, iommuGroup, numVfs, totalVfs,
driversAutoprobe, holding (holders, hidden, searched), vfs (index, address, driver, iommuGroup, cdev,
needs, unseen), and with --vfs dryRun and steps (path, text, kind: remove, probe or make).`,
  run: runSriov,
};

async function runSriov(invocation: Invocation): Promise<number> {
  const { positionals, values, flags, out } = invocation;
  const [pf = ''] = positionals;
  const probe = probeOf(invocation);
  const { vfs } = values;
  if (vfs === undefined) {
    if (flags['dry-run']) throw misuse('--dry-run says what --vfs would do: give --vfs, too');
    show(await describeSriov(pf), out, flags['json'] === true);
    return exitStatus.ok;
  }
  const count = /^\d{1,5}$/.test(vfs) ? Number(vfs) : NaN;
  if (Number.isNaN(count)) throw usageError('--vfs', 'a whole number, such as 4', vfs);
  if (flags['dry-run']) {
    const { before, steps } = await planVfs(pf, count, { probe });
    if (flags['json']) out.print(jsonText({ dryRun: true, steps, ...before }));
    else tellSteps(steps, before, before.numVfs, out, true);
    return exitStatus.ok;
  }
  const { steps, before, after } = await setVfs(pf, count, { probe });
  if (flags['json']) out.print(jsonText({ dryRun: false, steps, ...after }));
  else {
    tellSteps(steps, after, before.numVfs, out, false);
    show(after, out, false);
  }
  return exitStatus.ok;
}

function probeOf({ flags, values }: Invocation): boolean | undefined {
  const [yes, no] = [flags['probe'] === true, flags['no-probe'] === true];
  if (yes && no) throw misuse('--probe and --no-probe exclude each other: give one of them');
  if ((yes || no) && values['vfs'] === undefined)
    throw misuse(
      `${yes ? '--probe' : '--no-probe'} is of the virtual functions that --vfs makes: give --vfs, too`,
    );
  return yes || no ? yes : undefined;
}

function tellSteps(
  steps: readonly VfsStep[],
  { address, numVfs }: PhysicalFunction,
  before: number,
  out: Output,
  isDry: boolean,
): void {
  if (steps.length === 0) out.print(`${address} has ${countText(numVfs)} already`);
  const wrote = isDry ? 'would write' : 'wrote';
  for (const step of steps) {
    const { path, text } = step;
    out.print(`${wrote} ${text} to ${path}: ${effectOf(step, before, isDry)}`);
  }
}

function effectOf({ kind, text }: VfsStep, before: number, isDry: boolean): string {
  if (kind === 'probe') return `new ones are ${text === '0' ? 'not ' : ''}offered to drivers`;
  const count = kind === 'remove' ? before : Number(text);
  const done = kind === 'remove' ? 'removed' : 'made';
  return `${countText(count)} ${isDry ? 'would be' : count === 1 ? 'was' : 'were'} ${done}`;
}

function countText(count: number): string {
  return count === 1 ? '1 virtual function' : `${count} virtual functions`;
}

function show(pf: PhysicalFunction, out: Output, json: boolean): void {
  out.print(json ? jsonText(pf) : sriovText(pf, out.colour));
}

/** A physical function for a person. */
export function sriovText(pf: PhysicalFunction, colour: boolean): string {
  const { address, driver, iommuGroup, numVfs, totalVfs, driversAutoprobe, vfs } = pf;
  const bold = (text: string): string =>
    colour ? styleText('bold', text, { validateStream: false }) : text;
  const facts: [string, string | number | null][] = [
    ['driver', driver],
    ['IOMMU group', iommuGroup],
    ['VFs', `${numVfs} of ${totalVfs}`],
    ['new VFs', autoprobeText(driversAutoprobe)],
    ['open by', holdersText(pf)],
  ];
  const known = facts.filter(([, value]) => value !== null);
  const lines = columns(known.map(([name, value]) => [`  ${name}`, String(value)]));
  if (vfs.length === 0) return [bold(address), ...lines].join('\n');
  const header = ['  #', 'ADDRESS', 'DRIVER', 'GROUP', 'CDEV', 'USED BY'];
  const [head = '', ...rows] = columns([header, ...vfs.map(vfRow)], [3]);
  return [bold(address), ...lines, '', bold(head), ...rows].join('\n');
}

function autoprobeText(autoprobe: boolean | null): string | null {
  if (autoprobe === null) return null;
  return `are ${autoprobe ? '' : 'not '}offered to the host's drivers (sriov_drivers_autoprobe)`;
}

function holdersText({ holding: { holders, hidden, searched } }: PhysicalFunction): string | null {
  const known = holders.map(({ pid, command }) => `process ${pid} (${command})`);
  if (known.length > 0) return known.join(', ');
  if (!searched) return 'not known: not all processes were looked at';
  return hidden > 0
    ? `not known: ${hidden === 1 ? '1 process is' : `${hidden} processes are`} not to be looked at`
    : null;
}

function vfRow({
  index,
  address,
  driver,
  iommuGroup,
  cdev,
  needs,
  unseen,
}: VirtualFunction): string[] {
  return [
    `  ${index}`,
    address,
    driver ?? '-',
    iommuGroup === null ? '-' : String(iommuGroup),
    cdev ?? '-',
    usedBy(needs, unseen),
  ];
}

function usedBy(needs: readonly HostNeed[], unseen: readonly string[]): string {
  const known = needs.map(({ text }) => text);
  const all = [...known, ...unseen.map((text) => `not to be seen: ${text}`)];
  return all.length > 0 ? all.join('; ') : '-';
}
