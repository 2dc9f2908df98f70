import { printable } from '../index.ts';

/**
 * Rows as columns, each as wide as its widest cell; `right` names the columns of numbers. A cell shows
 * what others named, so no terminal obeys it.
 */
export function columns(cells: string[][], right: number[] = []): string[] {
  const rows = cells.map((row) => row.map(printable));
  const widths: number[] = [];
  for (const row of rows) {
    for (const [at, cell] of row.entries()) widths[at] = Math.max(widths[at] ?? 0, cell.length);
  }
  const pad = (cell: string, at: number): string =>
    right.includes(at) ? cell.padStart(widths[at] ?? 0) : cell.padEnd(widths[at] ?? 0);
  return rows.map((row) => row.map(pad).join('  ').trimEnd());
}

const escape = '\u001b';

/** Ends of lines, and what makes text bold. */
const ours = new RegExp(`(\n|${escape}\\[(?:1|22)m)`);

/** Lines as they may be shown: they keep what `ours` has, and no terminal obeys the rest. */
export function printableLines(text: string): string {
  const parts = text.split(ours);
  return parts.map((part, at) => (at % 2 === 1 ? part : printable(part))).join('');
}

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** `1 MiB`; exact, so a size that is no whole number of a unit is said in the next smaller one. */
export function bytes(size: number): string {
  let unit = 0;
  while (size >= 1024 && size % 1024 === 0 && unit < units.length - 1) {
    size /= 1024;
    unit++;
  }
  return `${size} ${units[unit] ?? ''}`;
}

/** `0x100000` */
export function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}
