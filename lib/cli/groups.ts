import { hostname, release } from 'node:os';
import { styleText } from 'node:util';
import { listGroups, type ListedGroup, type ListedGroupDevice, printable } from '../index.ts';
import { type Command, exitStatus, type Invocation, misuse, type Output } from './command.ts';
import { groupsDot } from './groups_dot.ts';
import { groupsSvg } from './groups_svg.ts';
import { groupWords, idsOf, stateOf, usesOf } from './group_words.ts';
import { classOf } from './pci_classes.ts';
import { columns, jsonText } from './text.ts';
import { writeNamedFile } from './write_file.ts';

export const groups: Command = {
  name: 'groups',
  summary: 'Show the IOMMU groups: what is in each, and whether it can be given away',
  positionals: [],
  options: {
    json: { type: 'boolean', description: 'Print JSON, see below' },
    svg: { type: 'string', description: 'Draw them into a file, as SVG', values: 'file' },
    dot: { type: 'boolean', description: "Print them in Graphviz' language, for dot -Tsvg" },
  },
  details: `The devices of an IOMMU group cannot be told apart by the IOMMU, so they are given away together. A group
is viable where the host has none of them by a driver that does DMA. Nothing is opened.

The JSON is an array of objects with the keys group, type (DMA, DMA-FQ, identity, blocked, unknown),
isolation (iommu; emulated: by a mediated device's driver; none: no IOMMU), viability (viable,
not-viable, unknown), hidden (addresses of devices that are not to be seen), and devices: objects as
vfio list --json prints, and verdict (ok, host-driver), uses, unseen and bridge besides.`,
  run: showGroups,
};

async function showGroups({ flags, values, out }: Invocation): Promise<number> {
  const { svg } = values;
  if ([flags['json'], flags['dot'], svg !== undefined].filter(Boolean).length > 1) {
    throw misuse('--json, --dot and --svg exclude each other: give one of them');
  }
  const found = await listGroups();
  const why = whyNone(found);
  if (why !== undefined) out.note(`vfio groups: ${why}`);
  if (flags['json']) out.print(jsonText(found));
  else if (flags['dot']) out.print(groupsDot(found).trimEnd());
  else if (svg !== undefined) await writeNamedFile(svg, groupsSvg(found, machineText()));
  else if (found.length > 0) {
    out.print(groupsText(found, out));
    const more = whatSaysMore(found);
    if (more !== undefined) out.note(`vfio groups: ${more}`);
  }
  return exitStatus.ok;
}

function machineText(): string {
  return `${hostname()}, Linux ${release()}`;
}

/** What a person has to know who sees no group of an IOMMU. */
export function whyNone(found: readonly ListedGroup[]): string | undefined {
  if (found.some(({ isolation }) => isolation === 'iommu')) return undefined;
  const those = found.length === 0 ? 'there are no IOMMU groups' : 'no group is of an IOMMU';
  return (
    `${those}: the IOMMU is switched off in the firmware settings or on the kernel's command line ` +
    "(intel_iommu=on switches Intel's on), or the machine has none; vfio doctor says more"
  );
}

/** Of groups that cannot be given away, what says what mends it. */
export function whatSaysMore(found: readonly ListedGroup[]): string | undefined {
  const [device] = found.find(({ viability }) => viability !== 'viable')?.devices ?? [];
  if (device === undefined) return undefined;
  return `vfio doctor <device>, such as ${device.address}, says what keeps its group from being given away, and what mends that`;
}

/** A tree: a line for each group, and below it one for each device. */
export function groupsText(
  found: readonly ListedGroup[],
  { colour, width = Infinity }: Pick<Output, 'colour' | 'width'>,
): string {
  const rows = found.flatMap(({ devices }) => devices.map(cellsOf));
  const lines = columns(rows).map((line) => cut(line, width - indent));
  let next = 0;
  return found
    .flatMap((group) => {
      const own = lines.slice(next, next + group.devices.length);
      next += own.length;
      const hidden = group.hidden.map((address) => `${printable(address)}  is not to be seen here`);
      return [heading(group, colour), ...branches([...own, ...hidden])];
    })
    .join('\n');
}

/** So wide is what stands before a device. */
const indent = 3;

function branches(lines: readonly string[]): string[] {
  return lines.map((line, at) => `${at === lines.length - 1 ? '└─' : '├─'} ${line}`);
}

const colours = { viable: 'green', 'not-viable': 'yellow', unknown: 'red' } as const;

function heading(group: ListedGroup, colour: boolean): string {
  const { title, verdict } = groupWords(group);
  const name = colour ? styleText('bold', title, { validateStream: false }) : title;
  const text = printable(verdict);
  const shown = colour
    ? styleText(colours[group.viability], text, { validateStream: false })
    : text;
  return `${name}  ${shown}`;
}

function cellsOf(device: ListedGroupDevice): string[] {
  const { address, driver } = device;
  return [address, idsOf(device), driver ?? '-', classOf(device), [stateOf(device), usesOf(device)].filter(Boolean).join(': ')]; // prettier-ignore
}

function cut(line: string, width: number): string {
  return line.length <= width ? line : `${line.slice(0, Math.max(0, width - 1))}…`;
}
