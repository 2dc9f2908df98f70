// Times maps and reads of registers with the trace off, on, and without the code of it; in turns.
// The last takes another checkout, of before the trace, in which `npm run build:all` was run.
//
//   npm run bench:trace [-- --without=<folder>]
import { join } from 'node:path';
import { interleave, summary, type Way } from '../lib/cli/bench/rounds.ts';
import { root } from '../test/support/root.ts';
import { BaselineRounds } from './baseline.ts';
import { option, ratio, showTables } from './table.ts';

interface Times {
  map: number;
  read: number;
}

const here = new URL('.', root).pathname;
const without = option('without');

/** What the trace and the figures cost is told where they are asked for. */
const ways: Record<string, [folder: string, mode: string, variable: string]> = {
  ...(without !== undefined && { 'without the trace': [without, 'off', 'NODE_DEBUG='] }),
  off: [here, 'off', 'NODE_DEBUG='],
  'countFigures()': [here, 'heard', 'NODE_DEBUG='],
  'NODE_DEBUG=vfio': [here, 'off', 'NODE_DEBUG=vfio'],
};

const programs = Object.entries(ways).map(([name, [folder, mode, variable]]) => {
  const program = BaselineRounds.inNode<Times>(
    join(here, 'build-test/bench/trace_program.js'),
    [join(folder, 'build-test/lib'), mode],
    [variable, `LD_PRELOAD=${join(here, 'build-baseline/iommufd.so')}`],
  );
  const way: Way<Times> = { run: (count) => program.rounds(count), rounds: [] };
  return { name, program, way };
});

await interleave(
  programs.map(({ way }) => way),
  { warmUp: 40, rounds: 200, turn: 10 },
);
for (const { program } of programs) await program.end();

const [first] = programs;
const rows = programs.map(({ name, way }) => {
  const of = (each: Way<Times>, key: keyof Times): { median: number; min: number } =>
    summary(each.rounds.map((round) => round[key]));
  const base = first?.way ?? way;
  return [
    name,
    ...(['map', 'read'] as const).flatMap((key) => [
      of(way, key).median.toFixed(key === 'map' ? 0 : 1),
      ratio(of(way, key).median, of(base, key).median),
      ratio(of(way, key).min, of(base, key).min),
    ]),
  ];
});
showTables('a map with its unmapping, and a read of a register', [
  {
    name: 'trace',
    header: ['', 'map, ns', '÷ first', 'min', 'read32, ns', '÷ first', 'min'],
    rows,
  },
]);
