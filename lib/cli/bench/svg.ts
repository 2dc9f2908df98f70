import type { Round } from './paths.ts';
import { type Machine, machineText } from './report.ts';
import { type Row, summary, timesOf } from './rounds.ts';

/** One way's rounds, as they are drawn. */
export interface Series {
  /** What it is drawn together with: a device. */
  group: string;
  name: string;
  fill: Fill;
  rounds: readonly Round[];
}

/** Told apart without colours. */
export type Fill = 'solid' | 'hollow' | 'hatched' | 'dotted';

const width = 960;
/** Where the axis of times begins and ends; names are left of it, medians right. */
const left = 130;
const right = width - 90;
const rowHeight = 22;
const stepGap = 26;
const binsPerDecade = 30;

/** A self-contained picture: for each step and way, how many rounds took how long. */
export function openSvg(machine: Machine, rounds: number, series: readonly Series[]): string {
  const axis = axisOf(series);
  const groups = [...new Set(series.map(({ group }) => group))];
  let y = 62;
  const parts: string[] = [];
  for (const group of groups) {
    const panel = drawGroup(
      group,
      series.filter((each) => each.group === group),
      axis,
      y,
    );
    parts.push(...panel.parts);
    y = panel.end + 14;
  }
  const legend = drawLegend(y + 6);
  const height = y + 42;
  const title = text(12, 22, 'Opening and closing a VFIO device', 'class="title"');
  const below = text(12, 40, `${machineText(machine)}; ${rounds} rounds of each way`);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">`,
    style,
    `<rect width="${width}" height="${height}" fill="white"/>`,
    ...[title, below, ...parts, ...legend],
    '</svg>\n',
  ].join('\n');
}

const style = `<style>
text { font: 12px sans-serif; fill: black }
.title { font-size: 16px; font-weight: bold }
.step { font-weight: bold }
.end { text-anchor: end }
.middle { text-anchor: middle }
.grid { stroke: #ccc; stroke-width: 1 }
.base { stroke: #888; stroke-width: 1 }
.bar { stroke: black; stroke-width: 0.7 }
.solid { fill: black }
.hollow { fill: white }
.hatched { fill: url(#hatched) }
.dotted { fill: url(#dotted) }
.median { stroke: black; stroke-width: 2 }
.halo { stroke: white; stroke-width: 4 }
.p99 { stroke: black; stroke-width: 1; fill: none }
</style>
<defs>
<pattern id="hatched" width="4" height="4" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="4" height="4" fill="white"/><line x1="0" y1="0" x2="0" y2="4" stroke="black" stroke-width="2"/></pattern>
<pattern id="dotted" width="4" height="4" patternUnits="userSpaceOnUse"><rect width="4" height="4" fill="white"/><rect width="2" height="2" fill="black"/></pattern>
</defs>`;

/** A logarithmic axis of whole decades, in nanoseconds. */
interface Axis {
  first: number;
  last: number;
}

function axisOf(series: readonly Series[]): Axis {
  const logs = series.flatMap(({ rounds }) =>
    [...timesOf(rounds).values()].flat().map((time) => Math.log10(Math.max(time, 1))),
  );
  const least = logs.reduce((a, b) => Math.min(a, b), Infinity);
  const most = logs.reduce((a, b) => Math.max(a, b), -Infinity);
  return { first: Math.floor(least), last: Math.max(Math.ceil(most), Math.floor(least) + 1) };
}

function xOf(time: number, { first, last }: Axis): number {
  const part = (Math.log10(Math.max(time, 1)) - first) / (last - first);
  return left + (right - left) * part;
}

function drawGroup(
  group: string,
  series: readonly Series[],
  axis: Axis,
  top: number,
): { parts: string[]; end: number } {
  const times = series.map((each) => ({ ...each, times: timesOf(each.rounds) }));
  const rows = [...new Set(times.flatMap((each) => [...each.times.keys()]))];
  const parts = [text(12, top + 10, group, 'class="step"')];
  let y = top + 38;
  const first = y;
  for (const row of rows) {
    y += stepGap;
    parts.push(text(left, y - 7, titles[row], 'class="step"'));
    for (const each of times) {
      const values = each.times.get(row);
      if (values === undefined) continue;
      parts.push(...drawRow(each, values, axis, y));
      y += rowHeight;
    }
  }
  return { parts: [...drawAxis(axis, first, y), ...parts], end: y + 16 };
}

const titles: Readonly<Record<Row, string>> = {
  lookup: 'lookup: the node, in sysfs',
  open: 'open: open and fstat, and the iommufd or container',
  bind: 'bind: open in the kernel’s sense',
  info: 'info: regions and interrupts',
  attach: 'attach: an address space',
  close: 'close: all of it',
  total: 'total',
  'outside bind, close': 'total without bind and close',
};

function drawAxis(axis: Axis, top: number, bottom: number): string[] {
  const decades = Array.from({ length: axis.last - axis.first + 1 }, (_, at) => axis.first + at);
  return decades.flatMap((decade) => {
    const x = xOf(10 ** decade, axis).toFixed(1);
    const label = timeText(10 ** decade);
    return [
      `<line class="grid" x1="${x}" y1="${top}" x2="${x}" y2="${bottom + 2}"/>`,
      text(x, top - 3, label, 'class="middle"'),
      text(x, bottom + 14, label, 'class="middle"'),
    ];
  });
}

/** A histogram over the logarithm of the times, the highest bar as high as the row. */
function drawRow(series: Series, times: readonly number[], axis: Axis, top: number): string[] {
  const base = top + rowHeight - 3;
  const { median, p99 } = summary(times);
  const [atMedian, atP99] = [median, p99].map((time) => xOf(time, axis).toFixed(1));
  const y1 = top - 1;
  return [
    text(left - 8, base - 4, series.name, 'class="end"'),
    `<line class="base" x1="${left}" y1="${base}" x2="${right}" y2="${base}"/>`,
    ...bars(times, axis, series.fill, base),
    `<path class="p99" d="M${atP99} ${top + 4}v${base - top - 4}m-3 ${top + 4 - base}h6"/>`,
    `<line class="halo" x1="${atMedian}" y1="${y1}" x2="${atMedian}" y2="${base + 2}"/>`,
    `<line class="median" x1="${atMedian}" y1="${y1}" x2="${atMedian}" y2="${base + 2}"/>`,
    text(width - 12, base - 4, timeText(median), 'class="end"'),
  ];
}

function bars(times: readonly number[], axis: Axis, fill: Fill, base: number): string[] {
  const counts = new Map<number, number>();
  for (const time of times) {
    const bin = Math.floor(Math.log10(Math.max(time, 1)) * binsPerDecade);
    counts.set(bin, (counts.get(bin) ?? 0) + 1);
  }
  const most = Math.max(...counts.values());
  return [...counts].map(([bin, count]) => {
    const x = xOf(10 ** (bin / binsPerDecade), axis);
    const wide = xOf(10 ** ((bin + 1) / binsPerDecade), axis) - x;
    const high = Math.max(1.5, ((rowHeight - 7) * count) / most);
    return `<rect class="bar ${fill}" x="${x.toFixed(1)}" y="${(base - high).toFixed(1)}" width="${wide.toFixed(1)}" height="${high.toFixed(1)}"/>`;
  });
}

function drawLegend(y: number): string[] {
  return [
    `<rect class="bar hollow" x="${left}" y="${y - 9}" width="8" height="10"/>`,
    `<rect class="bar hollow" x="${left + 8}" y="${y - 4}" width="8" height="5"/>`,
    text(left + 22, y, 'how many rounds took that long'),
    `<line class="median" x1="${left + 240}" y1="${y - 12}" x2="${left + 240}" y2="${y + 3}"/>`,
    text(left + 248, y, 'median, and in numbers on the right'),
    `<path class="p99" d="M${left + 500} ${y - 10}v12m-3 -12h6"/>`,
    text(left + 510, y, '99th percentile; the axis is logarithmic'),
  ];
}

/** `1.23 ms` */
export function timeText(nanoseconds: number): string {
  const units = ['ns', 'µs', 'ms', 's'];
  let value = nanoseconds;
  let unit = 0;
  for (; value >= 999.5 && unit < units.length - 1; unit++) value /= 1000;
  return `${Number(value.toPrecision(3))} ${units[unit] ?? ''}`;
}

function text(x: number | string, y: number, content: string, attributes = ''): string {
  const escaped = content.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  return `<text x="${x}" y="${y}" ${attributes}>${escaped}</text>`;
}
