// What must not grow while a soak goes on: what the process has, and what the kernel has for it.
import { readFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { stateNow } from '../faults/state.ts';

/** What is read before and after. */
export interface Gauges {
  /** Descriptors and mappings by what they lead to, threads, locked and pinned memory, by name: to be the same. */
  exact: ReadonlyMap<string, number>;
  /** In kB, or a number; each may grow by its bound of {@link bounds}. */
  bounded: ReadonlyMap<string, number>;
}

/**
 * By how much what is not exact may grow; docs/reliability.md says why. RSS and slab are in kB.
 *
 * - RSS: the heap of V8, which grows and shrinks by pages of 256 kB, and glibc's arenas, one a thread. A leak of
 *   100 bytes in each of 100,000 rounds is more.
 * - Slab that the kernel cannot give back: its caches for each processor, and what waits for a grace
 *   period of RCU. What a device's open file has in the kernel is some 300 bytes: in 100,000 rounds 30 MB.
 * - Open files of the whole machine, which is nobody else's in the lab: those of programs that look at it, such as ours.
 */
export const bounds: Readonly<Record<string, number>> = {
  RSS: 8192,
  'kernel slab': 8192,
  'open files': 64,
};

/** Where the kernel's own numbers are the soak's alone: in the lab. */
const isAlone = process.env['VFIO_LAB'] === '1';

/** Numbers by name, of a file of /proc with a name and a number in each line. */
function numbersOf(file: string): Map<string, number> {
  const lines = readFileSync(file, 'utf8').split('\n');
  return new Map(
    lines.map((line) => {
      const [name = '', value = ''] = line.split(/:?\s+/);
      return [name, Number(value)];
    }),
  );
}

/** Pages that the kernel keeps where they are, for a device: of all processes, ended ones too. */
function pinnedPages(): number | undefined {
  const counts = numbersOf('/proc/vmstat');
  const [acquired, released] = ['nr_foll_pin_acquired', 'nr_foll_pin_released'].map((name) =>
    counts.get(name),
  );
  return acquired === undefined || released === undefined ? undefined : acquired - released;
}

function gaugesNow(): Gauges {
  const exact = new Map(stateNow());
  const bounded = new Map([['RSS', numbersOf('/proc/self/status').get('VmRSS') ?? 0]]);
  if (isAlone) {
    const pages = pinnedPages();
    if (pages !== undefined) exact.set('pages pinned in the kernel', pages);
    bounded.set('kernel slab', numbersOf('/proc/meminfo').get('SUnreclaim') ?? 0);
    const [files = ''] = readFileSync('/proc/sys/fs/file-nr', 'utf8').split('\t');
    bounded.set('open files', Number(files));
  }
  return { exact, bounded };
}

/** What is not flat, a sentence each; empty where all is. */
export function grown(before: Gauges, after: Gauges): string[] {
  const names = new Set([...before.exact.keys(), ...after.exact.keys()]);
  const changed = [...names].flatMap((name) => {
    const [was, is] = [before.exact.get(name) ?? 0, after.exact.get(name) ?? 0];
    return was === is ? [] : [`${name}: ${was}, now ${is}`];
  });
  const over = [...after.bounded].flatMap(([name, is]) => {
    const was = before.bounded.get(name) ?? 0;
    const bound = bounds[name] ?? 0;
    return is - was <= bound ? [] : [`${name}: ${was}, now ${is}, more than ${bound} above it`];
  });
  return [...changed, ...over];
}

/** As often as memory is asked for, what is dropped is collected and finalized. */
async function collect(): Promise<void> {
  for (let at = 0; at < 4; at++) {
    globalThis.gc?.();
    await setTimeout(20);
  }
}

/** What there is when two looks one after the other see the same: what was closed is closed then. */
export async function steadyGauges(): Promise<Gauges> {
  await collect();
  let last = gaugesNow();
  for (let left = 50; left > 0; left--) {
    await setTimeout(50);
    const now = gaugesNow();
    if (grown(last, now).length === 0) return now;
    last = now;
  }
  return last;
}

/** What there is when nothing is more than before any more, or after a while. */
export async function settledGauges(before: Gauges): Promise<Gauges> {
  let now = await steadyGauges();
  for (let left = 20; left > 0 && grown(before, now).length > 0; left--) {
    await collect();
    now = gaugesNow();
  }
  return now;
}

/** The sum of those whose name begins so. */
function sum({ exact }: Gauges, begin: string): number {
  const all = [...exact].filter(([name]) => name.startsWith(begin));
  return all.reduce((total, [, count]) => total + count, 0);
}

/** For a line of the soak: `descriptors 21 → 21`. */
export function shown(before: Gauges, after: Gauges): string {
  const exact = Object.entries({
    descriptors: 'descriptor of ',
    mappings: 'mapping of ',
    threads: 'threads',
    'locked kB': 'VmLck',
    'pinned kB': 'VmPin',
    'pinned pages': 'pages pinned',
  }).map(([name, begin]) => `${name} ${sum(before, begin)} → ${sum(after, begin)}`);
  const bounded = [...after.bounded].map(
    ([name, is]) => `${name} ${before.bounded.get(name) ?? 0} → ${is}`,
  );
  return [...exact, ...bounded].join(', ');
}

/** Of the kernel's log, what it says of its own faults. */
export function kernelWarnings(lines: readonly string[]): string[] {
  const fault =
    /WARNING:|BUG:|Oops|refcount_t:|INFO: task .* blocked|general protection|UBSAN|KASAN|kmemleak|DMAR: .*fault|stall|unable to handle|list_(?:add|del) corruption/i;
  return lines.filter((line) => fault.test(line));
}
