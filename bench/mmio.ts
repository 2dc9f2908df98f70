// Times accesses of registers against a call into an addon that does nothing, one case a process,
// all in turn, some rounds; of memory, so that what is seen is the way there and not the bus.
//
//   npm run bench:mmio [-- <path of another node> …]
import { execFileSync } from 'node:child_process';
import { median } from '../lib/cli/bench/rounds.ts';
import { root } from '../test/support/root.ts';
import { positionals, ratio, showTables } from './table.ts';

const path = (name: string): string => new URL(name, root).pathname;

/** How many accesses a call of the case makes. */
const cases = {
  noop: 1,
  read8: 1,
  read32: 1,
  read64: 1,
  write32: 1,
  write64: 1,
  readBatch32: 64,
  writeBatch32: 64,
  readBlock: 64,
  twoReads32: 2,
  readBatchOf2: 2,
  twoWrites32: 2,
  writeBatchOf2: 2,
  sixteenReads32: 16,
  readBatchOf16: 16,
  sixteenWrites32: 16,
  writeBatchOf16: 16,
  preparedPair: 2,
  poll: 1,
  ringAndPoll: 1,
};
const rounds = 5;

type Case = keyof typeof cases;
const names = Object.keys(cases) as Case[];

function measure(node: string, name: string): number {
  const program = path('build-test/bench/mmio_case.js');
  return Number(execFileSync(node, ['--expose-gc', program, name], { encoding: 'utf8' }));
}

interface Column {
  version: string;
  /** Nanoseconds of each case, and the growth of the heap in bytes. */
  times: Record<Case, number>;
  heap: number;
  /** Of one I/O of 32 on a device that takes no time. */
  io: number;
  /** Garbage collections in ten seconds of them. */
  collections: number;
}

function compare(node: string): Column {
  const version = execFileSync(node, ['--version'], { encoding: 'utf8' }).trim();
  const all: Partial<Record<Case, number[]>> = {};
  for (let round = 0; round < rounds; round++) {
    for (const name of names) (all[name] ??= []).push(measure(node, name));
  }
  const medians = names.map((name) => [name, median(all[name] ?? [])]);
  const times = Object.fromEntries(medians) as Record<Case, number>;
  const ios = Array.from({ length: rounds }, () => measure(node, 'ios'));
  return {
    version,
    times,
    heap: measure(node, 'heap'),
    io: median(ios) / 32,
    collections: measure(node, 'collections'),
  };
}

const columns = [process.execPath, ...positionals()].map(compare);
const rows = names.map((name) => {
  const cells = columns.map(({ times }) => {
    if (name === 'noop') return `${times.noop.toFixed(1)} ns`;
    const each = times[name] / cases[name];
    return cases[name] < 64 ? ratio(times[name], times.noop) : `${each.toFixed(2)} ns an access`;
  });
  return [name === 'noop' ? name : cases[name] < 64 ? `${name} ÷ noop` : `${name} of 64`, ...cells];
});
const ofAll = (label: string, cell: (column: Column) => string): string[] => {
  return [label, ...columns.map(cell)];
};
showTables(`accesses of registers, medians of ${rounds} processes`, [
  {
    name: 'mmio',
    header: ['', ...columns.map(({ version }) => version)],
    rows: [
      ...rows,
      ofAll('an I/O, 32 at a time', ({ io }) => `${io.toFixed(2)} ns`),
      ofAll('collections in 10 s of them', ({ collections }) => String(collections)),
      ofAll('heap after 10 million read32, bytes', ({ heap }) => String(heap)),
    ],
  },
]);
