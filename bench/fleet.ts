// Times opening and closing many NVMe controllers at once, openDevices() against a C program with a
// thread for each device, some rounds each in turn; and what the event loop and a reader of files
// lose meanwhile.
//
//   npm run bench:fleet              in the lab, 24 controllers
//   node build-test/bench/fleet.js [rounds]
import { readFile } from 'node:fs/promises';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout } from 'node:timers/promises';
import { closeDevices, openDevices } from '../lib/device/fleet.ts';
import { Iommufd } from '../lib/iommu/iommufd.ts';
import type { DeviceAddress } from '../lib/locate/address.ts';
import { locateDevice } from '../lib/locate/find_cdev.ts';
import { devices } from '../test/support/devices.ts';
import { BaselineRounds } from './baseline.ts';

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

function median(rounds: readonly Fleet[], of: keyof Fleet): number {
  const times = rounds.map((round) => round[of]).sort((a, b) => a - b);
  return times[Math.floor(times.length / 2)] ?? NaN;
}

const ms = (nanoseconds: number): string => (nanoseconds / 1e6).toFixed(1);
const row = (cells: readonly (string | number)[]): string =>
  cells.map((cell) => String(cell).padStart(11)).join('');

interface Measured {
  c: Fleet[];
  ours: Fleet[];
}

async function measure(specs: readonly DeviceAddress[], rounds: number): Promise<Measured> {
  const folders = specs.map((spec) => locateDevice(spec).sysfsPath);
  const baseline = BaselineRounds.inC<Fleet>('fleet', folders);
  const measured: Measured = { c: [], ours: [] };
  for (let at = -2; at < rounds; at++) {
    const [c] = await baseline.rounds(1);
    const ours = await fleetRound(specs);
    if (at < 0 || c === undefined) continue;
    measured.c.push(c);
    measured.ours.push(ours);
  }
  baseline.end();
  return measured;
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

/** The 99th percentile of the time between ticks of a timer of a millisecond, in milliseconds. */
async function gapDuring(body: () => Promise<unknown>): Promise<number> {
  const delays = monitorEventLoopDelay({ resolution: 1 });
  delays.enable();
  await body();
  delays.disable();
  return delays.percentile(99) / 1e6;
}

async function printLoop(specs: readonly DeviceAddress[], rounds: number): Promise<void> {
  const opening = async (): Promise<void> => {
    for (let at = 0; at < rounds; at++) await fleetRound(specs);
  };
  const idle = (): Promise<unknown> => setTimeout(5000);
  const gaps = [await gapDuring(opening), await gapDuring(idle)];
  const reads = [await readsDuring(opening), await readsDuring(idle)];
  const ratio = ([busy = NaN, still = NaN]: number[]): string => (busy / still).toFixed(2);
  console.log(`\nwhile ${specs.length} are opened and closed, against idle`);
  console.log(`p99 between ticks of a timer of 1 ms: ${gaps.map((gap) => gap.toFixed(2)).join(' ms, ')} ms, ratio ${ratio(gaps)}`); // prettier-ignore
  console.log(`files read in a second: ${reads.map(Math.round).join(', ')}, ratio ${ratio(reads)}`);
}

const rounds = Number(process.argv[2] ?? 15);
const nvme = devices.filter(({ name }) => /^nvme\d+$/.test(name));
if (nvme.length === 0) throw new Error('no NVMe controllers here: npm run bench:fleet');
const counts = [1, 8, 16, 24].filter((count) => count <= nvme.length);
console.log(`fleet, ${rounds} rounds, medians in ms`);
console.log(row(['devices', 'C open', 'open', '÷ C', 'C close', 'close', '÷ C']));
const medians = new Map<number, Fleet>();
for (const count of counts) {
  const { c, ours } = await measure(nvme.slice(0, count), rounds);
  const [open, close] = [median(ours, 'open'), median(ours, 'close')];
  const [cOpen, cClose] = [median(c, 'open'), median(c, 'close')];
  medians.set(count, { open, close });
  const cells = [ms(cOpen), ms(open), (open / cOpen).toFixed(2)];
  console.log(row([count, ...cells, ms(cClose), ms(close), (close / cClose).toFixed(2)]));
}
const [one, eight] = [medians.get(1), medians.get(8)];
if (one && eight) {
  const specs = nvme.slice(0, 8);
  const serial: Fleet[] = [];
  for (let at = 0; at < 3; at++) serial.push(await fleetRound(specs, 1));
  const after = median(serial, 'open') + median(serial, 'close');
  console.log(`\neight ÷ one: open ${(eight.open / one.open).toFixed(2)}, close ${(eight.close / one.close).toFixed(2)}`); // prettier-ignore
  console.log(
    `eight one after another ÷ at once: ${(after / (eight.open + eight.close)).toFixed(1)}`,
  );
  await printLoop(specs, rounds);
}
