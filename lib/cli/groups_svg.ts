import { type ListedGroup, type ListedGroupDevice, printable } from '../index.ts';
import { groupWords, idsOf, stateOf, typeOf, usesOf, verdictOf } from './group_words.ts';
import { classOf } from './pci_classes.ts';

const cardWidth = 352;
const gap = 16;
const margin = 24;
const padding = 16;
/** Where the first card begins, below the title. */
const top = 84;
const headHeight = 50;
const lineHeight = 17;
/** Above and below a device's lines. */
const deviceGap = 14;

/** A self-contained picture: a card for each group, in columns of about the same length. */
export function groupsSvg(groups: readonly ListedGroup[], machine: string): string {
  const count = columnsFor(groups.length);
  const ends = Array.from({ length: count }, () => top);
  const cards = groups.map((group) => {
    const lines = group.devices.map(linesOf);
    const column = ends.indexOf(Math.min(...ends));
    const y = ends[column] ?? top;
    const height = heightOf(group, lines);
    ends[column] = y + height + gap;
    return card(group, lines, { x: margin + column * (cardWidth + gap), y, height });
  });
  const width = Math.max(2 * margin + count * (cardWidth + gap) - gap, leastWidth);
  const bottom = groups.length === 0 ? top + 40 : Math.max(...ends);
  const height = bottom + 44;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">`,
    `<title>${escaped(`IOMMU groups of ${machine}`)}</title>`,
    style,
    `<rect class="page" width="${width}" height="${height}"/>`,
    text(margin, 38, 'title', 'IOMMU groups', width - 2 * margin),
    text(margin, 60, 'dim', `${machine}: ${summaryOf(groups)}`, width - 2 * margin),
    ...(groups.length === 0 ? [text(margin, top + 20, '', noGroups, width - 2 * margin)] : []),
    ...cards,
    ...legend(bottom + 18),
    '</svg>\n',
  ].join('\n');
}

/** The legend needs so much. */
const leastWidth = 720;
const noGroups = 'There is none: no IOMMU is in use.';

function columnsFor(groups: number): number {
  if (groups > 60) return 5;
  return groups > 24 ? 4 : Math.max(1, Math.min(3, groups));
}

const style = `<style>
text { font: 12px system-ui, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1c2330 }
.page { fill: #f5f6f8 }
.title { font-size: 22px; font-weight: 600 }
.name { font-size: 15px; font-weight: 600 }
.address { font: 600 13px ui-monospace, "DejaVu Sans Mono", Menlo, monospace }
.long { font: 600 10.5px ui-monospace, "DejaVu Sans Mono", Menlo, monospace }
.dim { fill: #5b6575 }
.card { fill: #ffffff; stroke: #d5d9e0 }
.line { stroke: #e4e7ec }
.viable { fill: #1a7f4b }
.not-viable { fill: #b45309 }
.unknown { fill: #6b7280 }
.sign { fill: none; stroke: #ffffff; stroke-width: 2; stroke-linecap: round; stroke-linejoin: round }
.end { text-anchor: end }
.pill { fill: #e8ebf0 }
.vfio { fill: #dcf3e4 }
.host { fill: #fde8cf }
.hidden { fill: none; stroke: #9aa3b2; stroke-dasharray: 4 3 }
.middle { text-anchor: middle; font-size: 11px }
@media (prefers-color-scheme: dark) {
text { fill: #e6e9ef }
.page { fill: #12161d }
.dim { fill: #9aa4b5 }
.card { fill: #1b212b; stroke: #323a47 }
.line { stroke: #2b323e }
.viable { fill: #2f9e64 }
.not-viable { fill: #c8740f }
.unknown { fill: #7a8494 }
.pill { fill: #2d3542 }
.vfio { fill: #1d4430 }
.host { fill: #573813 }
}
</style>`;

/** What is written of a device: what it is, and below that what the host has of it. */
function linesOf(device: ListedGroupDevice): string[] {
  const { driver, physfn } = device;
  const what = [classOf(device), idsOf(device)].filter((part) => part !== '-');
  const has = driver === null ? 'no driver' : `driver ${driver}`;
  const uses = usesOf(device);
  return [
    what.join(' · '),
    ...[physfn === null ? has : `${has}, VF of ${physfn}`],
    ...(uses === '' ? [] : [uses]),
  ];
}

function heightOf({ hidden }: ListedGroup, lines: readonly string[][]): number {
  const devices = lines.map((some) => (some.length + 1) * lineHeight + deviceGap);
  return headHeight + devices.reduce((a, b) => a + b, 0) + hidden.length * hiddenHeight + 4;
}

const hiddenHeight = 34;

interface Place {
  x: number;
  y: number;
  height: number;
}

function card(group: ListedGroup, lines: readonly string[][], { x, y, height }: Place): string {
  const { title, verdict } = groupWords(group);
  const inner = cardWidth - 2 * padding;
  const parts = [
    '<g>',
    `<title>${escaped(`${title}: ${verdict}`)}</title>`,
    `<rect class="card" x="${x}" y="${y}" width="${cardWidth}" height="${height}" rx="8"/>`,
    sign(group.viability, x + padding + 9, y + 25),
    text(x + padding + 28, y + 23, 'name', title, 130),
    text(x + padding + 28, y + 40, 'dim', shortVerdict(group), inner - 28),
    pill(x + cardWidth - padding, y + 11, typeOf(group), 'pill'),
  ];
  let at = y + headHeight;
  for (const [index, device] of group.devices.entries()) {
    parts.push(...drawDevice(device, lines[index] ?? [], x, at));
    at += ((lines[index]?.length ?? 0) + 1) * lineHeight + deviceGap;
  }
  for (const address of group.hidden) {
    parts.push(
      `<rect class="hidden" x="${x + padding}" y="${at + 2}" width="${inner}" height="${hiddenHeight - 8}" rx="5"/>`,
      text(x + padding + 8, at + 20, 'dim', `${address}: not to be seen here`, inner - 16),
    );
    at += hiddenHeight;
  }
  return [...parts, '</g>'].join('\n');
}

function drawDevice(
  device: ListedGroupDevice,
  lines: readonly string[],
  x: number,
  y: number,
): string[] {
  const inner = cardWidth - 2 * padding;
  const state = shortState(device);
  const room = inner - (textWidth(state, 11) + 30);
  const first = y + 21;
  const kind = textWidth(device.address, 13) > room ? 'long' : 'address';
  return [
    '<g>',
    `<title>${escaped([device.address, ...lines, stateOf(device)].join('; '))}</title>`,
    `<line class="line" x1="${x + padding}" y1="${y + 1}" x2="${x + cardWidth - padding}" y2="${y + 1}"/>`,
    text(x + padding, first, kind, device.address, room),
    pill(x + cardWidth - padding, y + 7, state, pillOf(device)),
    ...lines.map((line, at) =>
      text(x + padding, first + (at + 1) * lineHeight, at === 0 ? '' : 'dim', line, inner),
    ),
    '</g>',
  ];
}

/** Which drivers the host has it by is said of each device. */
function shortVerdict(group: ListedGroup): string {
  return group.viability === 'not-viable' ? 'not viable: the host has it' : verdictOf(group);
}

function shortState({ boundToVfio, cdev, bridge, verdict, driver }: ListedGroupDevice): string {
  if (boundToVfio) return cdev === null ? 'VFIO' : cdev.name;
  if (bridge) return 'bridge';
  if (verdict === 'host-driver') return 'host';
  return driver === null ? 'free' : 'no DMA';
}

function pillOf({ boundToVfio, bridge, verdict }: ListedGroupDevice): string {
  if (boundToVfio) return 'vfio';
  return verdict === 'host-driver' && bridge === undefined ? 'host' : 'pill';
}

/** A word on a ground of its own; `right` is where it ends. */
function pill(right: number, y: number, word: string, kind: string): string {
  const shown = fitting(word, 190, 11);
  const width = Math.round(textWidth(shown, 11)) + 16;
  return [
    `<rect class="${kind}" x="${right - width}" y="${y}" width="${width}" height="19" rx="9.5"/>`,
    `<text class="middle" x="${right - width / 2}" y="${y + 13.5}">${escaped(shown)}</text>`,
  ].join('\n');
}

/** A disc with a mark, told apart without colours. */
function sign(viability: ListedGroup['viability'], x: number, y: number): string {
  const marks = {
    viable: `M${x - 4} ${y}l3 3.5l5.5 -7`,
    'not-viable': `M${x - 3.5} ${y - 3.5}l7 7m0 -7l-7 7`,
    unknown: `M${x - 4} ${y}h0.1M${x} ${y}h0.1M${x + 4} ${y}h0.1`,
  };
  const disc = `<circle class="${viability}" cx="${x}" cy="${y}" r="9"/>`;
  return `${disc}\n<path class="sign" d="${marks[viability]}"/>`;
}

const legendPlaces = [0, 215, 485];

function legend(y: number): string[] {
  const words = [
    ['viable', 'viable: may be given away'],
    ['not-viable', 'not viable: the host has a device of it'],
    ['unknown', 'not all of it is to be seen'],
  ] as const;
  return words.flatMap(([viability, meaning], at) => {
    const x = margin + (legendPlaces[at] ?? 0);
    return [sign(viability, x + 9, y), text(x + 26, y + 4, 'dim', meaning, 290)];
  });
}

function summaryOf(groups: readonly ListedGroup[]): string {
  const devices = groups.flatMap((group) => group.devices);
  const bound = devices.filter(({ boundToVfio }) => boundToVfio).length;
  const viable = groups.filter(({ viability }) => viability === 'viable').length;
  const counted = (count: number, name: string): string =>
    `${count} ${name}${count === 1 ? '' : 's'}`;
  return (
    `${counted(groups.length, 'group')} with ${counted(devices.length, 'device')}; ` +
    `${viable} viable; ${bound} bound to a VFIO driver`
  );
}

/** Characters of the scripts of East Asia, and pictures. */
const isWide = /[\u1100-\uffdc]|[^\0-\uffff]/u;

/** An estimate that is rather too wide: which font is used is not known here. */
function textWidth(content: string, size: number): number {
  const widths = Array.from(content, (one) => (isWide.test(one) ? 1.1 : 0.6));
  return widths.reduce((a, b) => a + b, 0) * size;
}

/** As much of a text as there is room for. */
function fitting(content: string, room: number, size: number): string {
  const shown = printable(content);
  if (textWidth(shown, size) <= room) return shown;
  let [left, end] = [room - textWidth('…', size), 0];
  for (const character of shown) {
    left -= textWidth(character, size);
    if (left < 0) break;
    end += character.length;
  }
  return `${shown.slice(0, end)}…`;
}

const sizes: Readonly<Record<string, number>> = { title: 22, name: 15, address: 13, long: 10.5 };

function text(x: number, y: number, kind: string, content: string, room: number): string {
  const shown = escaped(fitting(content, room, sizes[kind] ?? 12));
  const named = kind === '' ? '' : ` class="${kind}"`;
  return `<text${named} x="${x}" y="${y}">${shown}</text>`;
}

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
};

/** Text as XML may have it: of others' text, control characters are escaped as for a terminal. */
function escaped(content: string): string {
  return printable(content)
    .replace(/[&<>"']/g, (character) => entities[character] ?? '')
    .replace(/[\ufffe\uffff]/g, (character) => `\\u${character.charCodeAt(0).toString(16)}`);
}
