// Random reads by the NVMe example, in turns with the C program bench/baseline/nvme.c on a second
// controller of the same kind. What a read costs the processor alone: bench/nvme_null.ts.
//
//   npm run bench:nvme                            in the lab, its nvme0 and nvme1
//   npm run bench:nvme -- --seconds=0.2           shorter
//   npm run bench:nvme -- --long=10000000         so many reads, and whether they become slower
//   npm run bench:nvme -- --gc-seconds=10         and whether the garbage collector runs meanwhile
import { DmaBuffer, VfioDevice } from 'vfio';
import { Controller } from '../examples/nvme/controller.ts';
import { RandomReads } from '../examples/nvme/random_reads.ts';
import { median, quantile } from '../lib/cli/bench/rounds.ts';
import { locateDevice } from '../lib/locate/find_cdev.ts';
import { devices, type TestDevice } from '../test/support/devices.ts';
import { BaselineTurns } from './baseline.ts';
import { Collections } from './collections.ts';
import { option, ratio, showTables, type Table } from './table.ts';

const seconds = Number(option('seconds') ?? '1');
const turns = Number(option('turns') ?? '5');
const long = Number(option('long') ?? '0');
const gcSeconds = Number(option('gc-seconds') ?? '0');
const entries = 256;

interface Rate {
  done: number;
  ns: number;
}

function lab(name: string): TestDevice {
  const device = devices.find((each) => each.name === name);
  if (!device) throw new Error(`this needs the lab's ${name}: npm run bench:nvme`);
  return device;
}

await using device = await VfioDevice.open(lab('nvme0').address);
await using controller = await Controller.start(device);
const namespace = await controller.identifyNamespace(1);
const { pair, prps } = await controller.driveQueue(entries);
await using memory = await DmaBuffer.allocate(128 * 4096, { populate: true });
const { iova } = await controller.space.map(memory);
const data = { bytes: new Uint8Array(memory.buffer), iova };
const baseline = new BaselineTurns('nvme', [locateDevice(lab('nvme1')).sysfsPath]);

function readsOf(bytes: number, depth: number): RandomReads {
  const { registers } = controller;
  return new RandomReads({ pair, registers, prps, namespace, bytes, depth, data });
}

/** Reads a second. */
function ours(reads: RandomReads): number {
  const [before, start] = [reads.done, performance.now()];
  reads.run(seconds * 1000);
  reads.finish();
  const rate = ((reads.done - before) / (performance.now() - start)) * 1000;
  if (reads.errors > 0) throw new Error(`${reads.errors} reads failed`);
  return rate;
}

async function theirs(bytes: number, depth: number): Promise<number> {
  const { done, ns } = await baseline.turn<Rate>(`${bytes} ${depth} ${seconds * 1000}`);
  return (done / ns) * 1e9;
}

async function compare(bytes: number, depth: number): Promise<string[]> {
  const reads = readsOf(bytes, depth);
  const rates: Record<'c' | 'here', number[]> = { c: [], here: [] };
  for (let turn = -1; turn < turns; turn++) {
    const [c, here] = [await theirs(bytes, depth), ours(reads)];
    // The first warms up.
    if (turn < 0) continue;
    rates.c.push(c);
    rates.here.push(here);
  }
  const pairs = rates.here.map((rate, at) => rate / (rates.c[at] ?? NaN));
  const [c, here] = [median(rates.c), median(rates.here)];
  return [
    `${bytes} bytes, depth ${depth}`,
    c.toFixed(0),
    here.toFixed(0),
    ratio(here, c),
    median(pairs).toFixed(2),
  ];
}

async function rateTable(): Promise<Table> {
  const rows: string[][] = [];
  for (const bytes of [512, 4096]) {
    for (const depth of [1, 8, 32, 128]) rows.push(await compare(bytes, depth));
  }
  const header = ['', 'C, reads/s', 'here, reads/s', '÷ C', 'median of turns ÷ C'];
  return { name: 'nvme', header, rows };
}

/** Milliseconds between two reads' beginnings and ends, of the last million. */
function longRun(count: number, depth: number): { first: number; last: number } {
  const part = Math.min(1e6, Math.floor(count / 2));
  const reads = readsOf(512, depth);
  const latencies = new Float64Array(part);
  let first = 0;
  reads.onDone = (milliseconds) => {
    latencies[reads.done % part] = milliseconds;
    if (reads.done === part) first = quantile([...latencies], 0.5);
  };
  while (reads.done < count) reads.run(100);
  reads.finish();
  if (reads.errors > 0) throw new Error(`${reads.errors} reads failed`);
  return { first, last: quantile([...latencies], 0.5) };
}

async function longTable(count: number): Promise<Table> {
  const depth = 32;
  const part = Math.min(1e6, Math.floor(count / 2));
  const latency = (of: number): Promise<{ p50: number }> =>
    baseline.turn(`512 ${depth} ${of} latency`);
  const [firstC, here, lastC] = [await latency(part), longRun(count, depth), await latency(part)];
  const rows = [
    [
      'C',
      (firstC.p50 / 1000).toFixed(1),
      (lastC.p50 / 1000).toFixed(1),
      ratio(lastC.p50, firstC.p50),
    ],
    [
      'here',
      (here.first * 1000).toFixed(1),
      (here.last * 1000).toFixed(1),
      ratio(here.last, here.first),
    ],
  ];
  const header = [`${count} reads, none failed`, 'first p50, µs', 'last p50, µs', 'last ÷ first'];
  return { name: 'nvme-long', header, rows };
}

/** Whether ten seconds of reading make garbage. */
async function garbageTable(): Promise<Table> {
  const reads = readsOf(512, 32);
  reads.run(1000);
  const collections = new Collections();
  reads.run(gcSeconds * 1000);
  const count = await collections.count();
  reads.finish();
  const header = ['', 'collections'];
  return { name: 'nvme-gc', header, rows: [[`${gcSeconds} s of reads`, String(count)]] };
}

const tables: Table[] = [];
if (long > 0) tables.push(await longTable(long));
else tables.push(await rateTable());
if (gcSeconds > 0) tables.push(await garbageTable());
await baseline.end();
showTables('random reads of an NVMe controller', tables);
