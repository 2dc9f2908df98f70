// What a read costs the processor: the NVMe example's loop, and that of the C program
// bench/baseline/nvme.c, over rings and doorbells that are ordinary memory. Not in the lab, whose
// emulated processor translates code that is compiled while it runs.
//
//   npm run bench:nvme-null [-- --seconds=1]
import { execFileSync } from 'node:child_process';
import { median } from '../lib/cli/bench/rounds.ts';
import { root } from '../test/support/root.ts';
import { BaselineTurns } from './baseline.ts';
import { option, ratio, showTables, type Table } from './table.ts';

const seconds = Number(option('seconds') ?? '1');

interface Rate {
  done: number;
  ns: number;
}

interface NullTime {
  best: number;
  p50: number;
  collections: number;
}

function nullHere(depth: number): NullTime {
  const program = new URL('build-test/bench/nvme_null_case.js', root).pathname;
  const args = [program, String(depth), String(seconds * 1000)];
  return JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' })) as NullTime;
}

/** The processor's part, in as many slices as here. */
async function nullTable(): Promise<Table> {
  const c = new BaselineTurns('nvme', ['null']);
  const rows: string[][] = [];
  for (const depth of [1, 8, 32, 128]) {
    const times: number[] = [];
    for (let slice = 0; slice < seconds * 50; slice++) {
      const { done, ns } = await c.turn<Rate>(`512 ${depth} 20`);
      times.push(ns / done);
    }
    const { best, p50, collections } = nullHere(depth);
    const [bestC, p50C] = [Math.min(...times), median(times)];
    const cells = [bestC, best, p50C, p50].map((time) => time.toFixed(1));
    rows.push([`depth ${depth}`, ...cells, ratio(best, bestC), String(collections)]);
  }
  await c.end();
  const header = ['', 'C best, ns', 'best, ns', 'C median', 'median', 'best ÷ C', 'collections'];
  return { name: 'nvme-null', header, rows };
}

showTables('a read by memory that completes at once', [await nullTable()]);
