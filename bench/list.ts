// Times listDevices() and listDevicesSync() of a tree of files that looks like sysfs, against the C
// program bench/baseline/list.c that reads the same files, some rounds each in turn; and how long
// the event loop waits meanwhile.
//
//   npm run -s build:native && npm run -s build:baseline && npx tsx bench/list.ts [rounds]
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { monitorEventLoopDelay, type IntervalHistogram } from 'node:perf_hooks';
import { setTimeout } from 'node:timers/promises';
import { listDevices, listDevicesSync } from '../lib/index.ts';
import { boundToVfio, pciDevice, sysfsFiles } from '../test/support/sysfs.ts';
import { BaselineRounds } from './baseline.ts';

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

function quantile(values: number[], at: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * at))] ?? NaN;
}

/** How late a timer of every millisecond is while `run` runs. */
async function delaysDuring(run: () => Promise<unknown>): Promise<IntervalHistogram> {
  const delays = monitorEventLoopDelay({ resolution: 1 });
  delays.enable();
  await run();
  delays.disable();
  return delays;
}

async function compare(count: number, rounds: number): Promise<void> {
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
  baseline.end();
  const [c, sync, async] = [times.c, times.sync, times.async].map((all) => quantile(all, 0.5));
  console.log(row(count, [ms(c), ms(sync), ratio(sync, c), ms(async), ratio(async, c)]));
  if (count === 1000) await printDelays(sysfsRoot, rounds);
  rmSync(sysfsRoot, { recursive: true });
}

async function printDelays(sysfsRoot: string, rounds: number): Promise<void> {
  const during = {
    listing: await delaysDuring(async () => {
      for (let at = 0; at < rounds; at++) await listDevices({ sysfsRoot });
    }),
    idle: await delaysDuring(() => setTimeout(5000)),
    blocking: await delaysDuring(async () => {
      for (let at = 0; at < rounds; at++) await setTimeout(1, listDevicesSync({ sysfsRoot }));
    }),
  };
  console.log('\ntime between ticks of a timer of 1 ms while 1,000 devices are listed, in ms');
  for (const [name, delays] of Object.entries(during)) {
    const [p50, p99, most] = [50, 99, 100].map((at) => ms(delays.percentile(at)));
    console.log(
      `${name.padEnd(9)} p50 ${p50}  p99 ${p99}  longest ${most}  (${delays.count} ticks)`,
    );
  }
}

function row(count: number, cells: string[]): string {
  return [String(count).padStart(8), ...cells.map((cell) => cell.padStart(9))].join('');
}

const ms = (nanoseconds = NaN): string => (nanoseconds / 1e6).toFixed(3);
const ratio = (ours = NaN, theirs = NaN): string => (ours / theirs).toFixed(2);

const rounds = Number(process.argv[2] ?? 50);
console.log(`list, ${rounds} rounds, medians in ms`);
console.log(' devices        C     sync      ÷ C    async      ÷ C');
for (const count of [10, 100, 1000]) await compare(count, rounds);
