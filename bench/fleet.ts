// Times opening and closing many NVMe controllers at once, openDevices() against a C program with a
// thread for each device, some rounds each in turn; and what the event loop and a reader of files
// lose meanwhile, beside what they lose while the C program does the same.
//
//   npm run bench:fleet              in the lab, 24 controllers
//   node build-test/bench/fleet.js [rounds] [--json]

import { readFile } from 'node:fs/promises';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout } from 'node:timers/promises';
import { interleave, median, repeat, type Way } from '../lib/cli/bench/rounds.ts';
import { closeDevices, type DeviceAddress, Iommufd, openDevices } from '../lib/index.ts';
import { locateDevice } from '../lib/locate/find_cdev.ts';
import { devices } from '../test/support/devices.ts';
import { BaselineRounds } from './baseline.ts';
import { milliseconds, positionals, ratio, showTables, type Table } from './table.ts';

/** Nanoseconds. */
interface Fleet {
  open: number;
  close: number;
}

async function fleetRound(specs: readonly DeviceAddress[], concurrency = 64): Promise<Fleet> {
  await using iommufd = Iommufd.open();
  const start = process.hrtime.bigint();
  // The C program arms no requests either.
  const options = { iommufd, concurrency, requestEvents: false };
  const opened = await openDevices(specs, options);
  const middle = process.hrtime.bigint();
  if (concurrency > 1) await closeDevices(opened);
  else for (const device of opened) await device.close();
  const end = process.hrtime.bigint();
  return { open: Number(middle - start), close: Number(end - middle) };
}

function medianOf(rounds: readonly Fleet[], of: keyof Fleet): number {
  return median(rounds.map((round) => round[of]));
}

interface FleetWays {
  count: number;
  c: Way<Fleet>;
  ours: Way<Fleet>;
}

const baselines: BaselineRounds<Fleet>[] = [];

function baselineOf(specs: readonly DeviceAddress[]): BaselineRounds<Fleet> {
  const folders = specs.map((spec) => locateDevice(spec).sysfsPath);
  const program = BaselineRounds.inC<Fleet>('fleet', folders);
  baselines.push(program);
  return program;
}

function waysOf(specs: readonly DeviceAddress[]): FleetWays {
  const program = baselineOf(specs);
  return {
    count: specs.length,
    c: { run: (count) => program.rounds(count), rounds: [] },
    ours: { run: (count) => repeat(count, () => fleetRound(specs)), rounds: [] },
  };
}

function fleetTable(measured: readonly FleetWays[]): Table {
  const rows = measured.map(({ count, c, ours }) => {
    const cells = (['open', 'close'] as const).flatMap((of) => {
      const [theirs, mine] = [medianOf(c.rounds, of), medianOf(ours.rounds, of)];
      return [milliseconds(theirs), milliseconds(mine), ratio(mine, theirs)];
    });
    return [String(count), ...cells];
  });
  const header = ['devices', 'C open, ms', 'open, ms', '÷ C', 'C close, ms', 'close, ms', '÷ C'];
  return { name: 'fleet', header, rows };
}

/** How opening and closing grow with the number, and what doing it at once gains. */
function growthTable(measured: readonly FleetWays[], serial: readonly Fleet[]): Table {
  const [one] = measured;
  const rows = measured.slice(1).flatMap(({ count, c, ours }) =>
    (['open', 'close'] as const).map((of) => {
      const [mine, theirs] = [ours, c].map((way, at) => {
        const single = at === 0 ? one?.ours : one?.c;
        return ratio(medianOf(way.rounds, of), medianOf(single?.rounds ?? [], of));
      });
      return [`${of}, ${count} ÷ 1`, mine ?? '', theirs ?? ''];
    }),
  );
  const eight = measured.find(({ count }) => count === 8);
  if (eight) {
    const both = (rounds: readonly Fleet[]): number =>
      medianOf(rounds, 'open') + medianOf(rounds, 'close');
    rows.push(['8 one after another ÷ at once', ratio(both(serial), both(eight.ours.rounds)), '']);
  }
  return { name: 'fleet-growth', header: ['', 'here', 'C'], rows };
}

async function countReads(end: AbortSignal): Promise<number> {
  let reads = 0;
  for (; !end.aborted; reads++) await readFile('/proc/self/stat');
  return reads;
}

/** How often a small file is read in a second while `body` runs. */
async function readsDuring(body: () => Promise<unknown>): Promise<number> {
  const end = new AbortController();
  const reader = countReads(end.signal);
  const start = performance.now();
  await body();
  const seconds = (performance.now() - start) / 1000;
  end.abort();
  return (await reader) / seconds;
}

/** The 99th percentile of the time between ticks of a timer of a millisecond, in nanoseconds. */
async function gapDuring(body: () => Promise<unknown>): Promise<number> {
  const delays = monitorEventLoopDelay({ resolution: 1 });
  delays.enable();
  await body();
  delays.disable();
  return delays.percentile(99);
}

/** What the loop and a reader have while nothing else happens, while C works, and while we do. */
async function loopTable(specs: readonly DeviceAddress[], turns: number): Promise<Table> {
  const program = baselineOf(specs);
  const bodies = {
    idle: () => setTimeout(1500),
    C: () => program.rounds(5),
    here: () => repeat(5, () => fleetRound(specs)),
  };
  const names = Object.keys(bodies) as (keyof typeof bodies)[];
  const gaps: Record<string, number[]> = {};
  const reads: Record<string, number[]> = {};
  for (let turn = 0; turn < turns; turn++) {
    for (const name of names) {
      (gaps[name] ??= []).push(await gapDuring(bodies[name]));
      (reads[name] ??= []).push(await readsDuring(bodies[name]));
    }
  }
  const middle = (of: Record<string, number[]>, name: string): number => median(of[name] ?? []);
  const rows = names.map((name) => [
    name,
    milliseconds(middle(gaps, name)),
    ratio(middle(gaps, name), middle(gaps, 'idle')),
    String(Math.round(middle(reads, name))),
    ratio(middle(reads, name), middle(reads, 'idle')),
  ]);
  const header = [`while ${specs.length} open and close`, 'p99 gap, ms', '÷ idle', 'reads/s', '÷ idle']; // prettier-ignore
  return { name: 'fleet-loop', header, rows };
}

const rounds = Number(positionals()[0] ?? 10);
const nvme = devices.filter(({ name }) => /^nvme\d+$/.test(name));

if (nvme.length === 0) throw new Error('no NVMe controllers here: npm run bench:fleet');

const counts = [1, 8, 16, 24].filter((count) => count <= nvme.length);
const measured = counts.map((count) => waysOf(nvme.slice(0, count)));
const plan = { warmUp: 2, rounds, turn: 1 };

await interleave(
  measured.flatMap(({ c, ours }) => [c, ours]),
  plan,
);

const eight = nvme.slice(0, 8);
const serial = await repeat(3, () => fleetRound(eight, 1));
const loop = await loopTable(eight, 5);

for (const each of baselines) await each.end();

showTables(`fleets of NVMe controllers, ${rounds} rounds of each, in turns`, [
  fleetTable(measured),
  growthTable(measured, serial),
  loop,
]);
