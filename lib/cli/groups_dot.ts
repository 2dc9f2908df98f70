import { type ListedGroup, type ListedGroupDevice, printable } from '../index.ts';
import { groupWords, stateOf, usesOf } from './group_words.ts';
import { classOf } from './pci_classes.ts';

/**
 * The groups in Graphviz' language: a box for each group with a box for each device in it, and
 * arrows from physical to virtual functions.
 */
export function groupsDot(groups: readonly ListedGroup[]): string {
  const ids = new Map<string, string>();
  for (const { devices } of groups) {
    for (const device of devices) ids.set(`${device.bus}/${device.address}`, `d${ids.size}`);
  }
  const idOf = ({ bus, address }: { bus: string; address: string }): string =>
    ids.get(`${bus}/${address}`) ?? '';
  return [
    'digraph "IOMMU groups" {',
    '  graph [rankdir=LR, fontname="sans-serif"];',
    '  node [shape=box, style="rounded,filled", fillcolor=white, fontname="sans-serif"];',
    ...groups.flatMap((group, at) => cluster(group, at, idOf)),
    ...groups.flatMap(({ devices }) => devices).flatMap((device) => toPhysical(device, idOf)),
    '}\n',
  ].join('\n');
}

type IdOf = (device: { bus: string; address: string }) => string;

const colours = { viable: '#e3f4e6', 'not-viable': '#fdecd8', unknown: '#ececec' } as const;

function cluster(group: ListedGroup, at: number, idOf: IdOf): string[] {
  const { title, verdict } = groupWords(group);
  const hidden = group.hidden.map(
    (address, index) =>
      `    h${at}_${index} [label=${label([address, 'not to be seen here'])}, style="rounded,dashed"];`,
  );
  // A cluster without a node is not drawn.
  const none = group.devices.length + group.hidden.length === 0;
  const empty = none ? [`    h${at} [label="?", style="rounded,dashed"];`] : [];
  return [
    `  subgraph "cluster_${group.group}" {`,
    `    label=${label([title, verdict])}; style="rounded,filled"; color="#888888"; fillcolor="${colours[group.viability]}";`,
    ...group.devices.map((device) => `    ${idOf(device)} [label=${label(wordsOf(device))}];`),
    ...hidden,
    ...empty,
    '  }',
  ];
}

function wordsOf(device: ListedGroupDevice): string[] {
  const { address, driver } = device;
  const state = driver === null ? stateOf(device) : `${driver}: ${stateOf(device)}`;
  return [address, classOf(device), state, usesOf(device)].filter((line) => line !== '');
}

function toPhysical({ bus, address, physfn }: ListedGroupDevice, idOf: IdOf): string[] {
  const parent = physfn === null ? '' : idOf({ bus, address: physfn });
  return parent === '' ? [] : [`  ${parent} -> ${idOf({ bus, address })} [label="VF"];`];
}

/** A string in quotes, of whose text nothing is an escape or an entity (escString). */
function label(lines: readonly string[]): string {
  const escaped = lines.map((line) =>
    printable(line).replaceAll('&', '&amp;').replaceAll('\\', '\\\\').replaceAll('"', '\\"'),
  );
  return `"${escaped.join('\\n')}"`;
}
