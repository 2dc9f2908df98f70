/** Rows as columns, each as wide as its widest cell; `right` names the columns of numbers. */
export function columns(rows: string[][], right: number[] = []): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [at, cell] of row.entries()) widths[at] = Math.max(widths[at] ?? 0, cell.length);
  }
  const pad = (cell: string, at: number): string =>
    right.includes(at) ? cell.padStart(widths[at] ?? 0) : cell.padEnd(widths[at] ?? 0);
  return rows.map((row) => row.map(pad).join('  ').trimEnd());
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
