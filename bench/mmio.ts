// Times accesses of registers against a call into an addon that does nothing, one case a process, all
// in turn, some rounds; of memory, so that what is seen is the way there and not the bus.
//
//   npm run bench:mmio [-- <path of another node> …]
import { execFileSync } from 'node:child_process';
import { root } from '../test/support/root.ts';

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
};
const rounds = 5;

type Case = keyof typeof cases;
const names = Object.keys(cases) as Case[];

function measure(node: string, name: string): number {
  const program = path('build-test/bench/mmio_case.js');
  return Number(execFileSync(node, ['--expose-gc', program, name], { encoding: 'utf8' }));
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
}

function compare(node: string): void {
  const version = execFileSync(node, ['--version'], { encoding: 'utf8' }).trim();
  const times: Record<string, number[]> = {};
  for (let round = 0; round < rounds; round++) {
    for (const name of names) (times[name] ??= []).push(measure(node, name));
  }
  const noop = median(times['noop'] ?? []);
  console.log(`\nNode ${version}: medians of ${rounds} processes`);
  console.log(
    `${'case'.padEnd(14)}${'ns'.padStart(9)}${'÷ noop'.padStart(9)}${'ns/access'.padStart(11)}`,
  );
  for (const name of names) {
    const time = median(times[name] ?? []);
    const each = (time / cases[name]).toFixed(2);
    const cells = [
      time.toFixed(1).padStart(9),
      (time / noop).toFixed(2).padStart(9),
      each.padStart(11),
    ];
    console.log(name.padEnd(14) + cells.join(''));
  }
  console.log(`heap after 10 million read32: ${measure(node, 'heap')} bytes more`);
}

for (const node of [process.execPath, ...process.argv.slice(2)]) compare(node);
