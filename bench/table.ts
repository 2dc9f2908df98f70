import { columns } from '../lib/cli/text.ts';

/**
 * What a benchmark found, ready to be read: bench/docs.ts puts it into docs/performance.md by its
 * name.
 */
export interface Table {
  name: string;
  header: string[];
  rows: string[][];
}

/** Prints tables for a person; with `--json` on the command line, for bench/docs.ts. */
export function showTables(title: string, tables: readonly Table[]): void {
  if (process.argv.includes('--json')) {
    console.log(JSON.stringify({ title, tables }));
    return;
  }
  console.log(title);
  for (const { name, header, rows } of tables) {
    const right = header.map((_, at) => at).slice(1);
    console.log(`\n${name}\n${columns([header, ...rows], right).join('\n')}`);
  }
}

/** The arguments that are no options. */
export function positionals(): string[] {
  return process.argv.slice(2).filter((word) => !word.startsWith('--'));
}

/** The value of `--<name>=…`. */
export function option(name: string): string | undefined {
  const prefix = `--${name}=`;
  return process.argv.find((word) => word.startsWith(prefix))?.slice(prefix.length);
}

export function ratio(ours: number, theirs: number): string {
  const value = ours / theirs;
  return Number.isFinite(value) ? value.toFixed(value < 10 ? 2 : 1) : '–';
}

export function microseconds(nanoseconds: number): string {
  return Number.isFinite(nanoseconds) ? (nanoseconds / 1000).toFixed(1) : '–';
}

export function milliseconds(nanoseconds: number): string {
  return Number.isFinite(nanoseconds) ? (nanoseconds / 1e6).toFixed(1) : '–';
}
