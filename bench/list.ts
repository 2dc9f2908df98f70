// Times listDevices() and listDevicesSync() of a tree of files that looks like sysfs, against the C
// program bench/baseline/list.c that reads the same files, some rounds each in turn; and how long
// the event loop waits meanwhile.
//
//   npm run bench:list [-- rounds]

import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout } from 'node:timers/promises';
import { median } from '../lib/cli/bench/rounds.ts';
import { listDevices, listDevicesSync } from '../lib/index.ts';
import { boundToVfio, pciDevice, sysfsFiles } from '../test/support/sysfs.ts';
import { BaselineRounds } from './baseline.ts';
import { positionals, ratio, showTables, type Table } from './table.ts';

/** A round of the C program. */
interface Listed {
  nanoseconds: number;
  devices: number;
}

/** So many PCI devices, every second one bound to a VFIO driver. */
function makeTree(count: number): string {
  const devices = Array.from({ length: count }, (_, at) => {
    const address = `${(at >> 8).toString(16).padStart(4, '0')}:${(at & 255).toString(16).padStart(2, '0')}:00.0`;
    const bound = at % 2 === 0 ? boundToVfio(`vfio${at}`, `511:${at}\n`) : {};
    return [address, pciDevice(at, bound)] as const;
  });
  const root = mkdtempSync(join(tmpdir(), 'vfio-bench-'));
  for (const [path, entry] of Object.entries(sysfsFiles({ pci: Object.fromEntries(devices) }))) {
    const file = join(root, path);
    mkdirSync(dirname(file), { recursive: true });
    if (typeof entry === 'string') writeFileSync(file, entry);
    else symlinkSync(entry.pointsTo, file);
  }
  return root;
}

async function timed(run: () => unknown): Promise<number> {
  const start = process.hrtime.bigint();
  await run();
  return Number(process.hrtime.bigint() - start);
}

/** How late a timer of every millisecond is while `run` runs. */
async function delaysDuring(run: () => Promise<unknown>): Promise<IntervalHistogram> {
  const delays = monitorEventLoopDelay({ resolution: 1 });
  delays.enable();
  await run();
  delays.disable();
  return delays;
}

async function compare(count: number, rounds: number): Promise<string[]> {
  const sysfsRoot = makeTree(count);
  const baseline = BaselineRounds.inC<Listed>('list', [sysfsRoot]);
  const times = { c: [] as number[], sync: [] as number[], async: [] as number[] };
  const warmUp = 10;
  for (let at = -warmUp; at < rounds; at++) {
    const [{ nanoseconds, devices }] = (await baseline.rounds(1)) as [Listed];
    const sync = await timed(() => listDevicesSync({ sysfsRoot }));
    const async = await timed(() => listDevices({ sysfsRoot }));
    if (devices !== count) throw new Error(`the baseline found ${devices} devices`);
    if (at < 0) continue;
    times.c.push(nanoseconds);
    times.sync.push(sync);
    times.async.push(async);
  }
  await baseline.end();
  if (count === 1000) delays = await delaysTable(sysfsRoot, rounds);
  rmSync(sysfsRoot, { recursive: true });
  const c = median(times.c);
  const ratios = [times.sync, times.async].map((all) => ratio(median(all), c));
  return [count.toLocaleString('en'), ms(c), ...ratios];
}

async function delaysTable(sysfsRoot: string, rounds: number): Promise<Table> {
  const during = {
    listing: await delaysDuring(async () => {
      for (let at = 0; at < rounds; at++) await listDevices({ sysfsRoot });
    }),
    idle: await delaysDuring(() => setTimeout(5000)),
    blocking: await delaysDuring(async () => {
      for (let at = 0; at < rounds; at++) await setTimeout(1, listDevicesSync({ sysfsRoot }));
    }),
  };
  const idle = during.idle.percentile(99);
  const rows = Object.entries(during).map(([name, gaps]) => [
    name,
    ...[50, 99, 100].map((at) => ms(gaps.percentile(at))),
    ratio(gaps.percentile(99), idle),
  ]);
  const header = ['ticks of 1 ms, 1,000 listed', 'p50, ms', 'p99, ms', 'longest, ms', 'p99 ÷ idle'];
  return { name: 'list-loop', header, rows };
}

const ms = (nanoseconds: number): string => (nanoseconds / 1e6).toFixed(2);

const rounds = Number(positionals()[0] ?? 50);
let delays: Table | undefined;
const rows: string[][] = [];

for (const count of [10, 100, 1000]) rows.push(await compare(count, rounds));

showTables(`list, ${rounds} rounds, medians`, [
  { name: 'list', header: ['devices', 'C, ms', 'sync ÷ C', 'async ÷ C'], rows },
  ...(delays ? [delays] : []),
]);
