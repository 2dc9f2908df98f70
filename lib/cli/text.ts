import { printable } from '../index.ts';

/**
 * Rows as columns, each as wide as its widest cell; `right` names the columns of numbers. A cell
 * shows what others named, so no terminal obeys it.
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

/** Ends of lines, what makes text bold, and the colours of findings. */
const ours = new RegExp(`(\n|${escape}\\[(?:1|22|3[1-3]|39)m)`);

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

/** What JSON.stringify leaves as it is, and a terminal would obey or not show. */
const unseen = /[\u007f-\u009f\p{Cf}\p{Zl}\p{Zp}]/gu;

/** Cells of one line, without knowing those of others. */
export function printableLine(cells: readonly string[]): string {
  return cells.map(printable).join('  ').trimEnd();
}

/**
 * A value as JSON. 64 bits are a hex string, since a JSON number would lose some; bytes likewise.
 */
export function jsonText(value: unknown): string {
  return JSON.stringify(value, lossless, 2).replace(unseen, escaped);
}

/** The same on one line. */
export function jsonLine(value: unknown): string {
  return JSON.stringify(value, lossless).replace(unseen, escaped);
}

function lossless(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return hex(value);
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  return value;
}

function escaped(character: string): string {
  const units = Array.from({ length: character.length }, (_, at) => character.charCodeAt(at));
  return units.map((unit) => `\\u${unit.toString(16).padStart(4, '0')}`).join('');
}

/** In quotes, which sh, bash and zsh take off; fish does where backslashes are doubled. */
export function quoted(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

/** A word of a command line, as people type it: in quotes only where it needs them. */
export function shellWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : quoted(word);
}
