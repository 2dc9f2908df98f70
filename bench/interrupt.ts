// Times an eventfd's way to a handler. First its latency on an idle loop, beside a C epoll loop:
// another process signals it, a millisecond apart, they in turn: wherever the scheduler puts the two
// processes, with a processor for each, and both on one, where waking the one is in the way of the
// other's going to sleep. Then the cost of an event with
// 16 and with 4,096 eventfds on the loop, beside C again: the kernel and the processor's caches
// have their part in what more of them cost.
//
//   npm run bench:interrupt [-- rounds]

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { median, quantile } from '../lib/cli/bench/rounds.ts';
import { binding, type NativeFd } from '../lib/core/binding.ts';
import { Eventfd } from '../lib/interrupt/eventfd.ts';
import { InterruptVector } from '../lib/interrupt/vector.ts';
import { root } from '../test/support/root.ts';
import { positionals, ratio, showTables } from './table.ts';

const program = new URL('build-baseline/eventfd', root).pathname;
const gap = 1000;

/** The vectors here belong to no device. */
const nobodys = undefined as never;

function start(mode: string, event: Eventfd, args: number[]): ChildProcess {
  const stdio = ['ignore', 'pipe', 'inherit', event.number] as const;
  return spawn(program, [mode, '3', ...args.map(String)], { stdio: [...stdio] });
}

async function linesOf(child: ChildProcess): Promise<string[]> {
  const lines: string[] = [];
  if (child.stdout) for await (const line of createInterface(child.stdout)) lines.push(line);
  return lines;
}

/** Nanoseconds from each signal to its arrival, the first tenth left out. */
function latencies(sent: string[], told: bigint[]): number[] {
  const all = told.map((time, at) => Number(time - BigInt(sent[at] ?? NaN)));
  return all.slice(all.length / 10);
}

/** Which processor the writer runs on, and which who waits; -1: any. */
type Placement = readonly [writer: number, waiter: number];

function pin({ pid }: { pid?: number | undefined }, cpu: number): void {
  const { status } = spawnSync(program, ['pin', String(pid), String(cpu)], { stdio: 'inherit' });
  if (status !== 0) throw new Error(`cannot run on processor ${cpu}`);
}

/** When another process signalled it. */
function sendTo(event: Eventfd, rounds: number, [cpu]: Placement): Promise<string[]> {
  const writer = start('write', event, [rounds, gap]);
  pin(writer, cpu);
  return linesOf(writer);
}

/** In a C process. */
async function inC(rounds: number, placement: Placement): Promise<number[]> {
  const event = Eventfd.open('the benchmark');
  const loop = start('loop', event, [rounds]);
  if (loop.stdout) await once(loop.stdout, 'readable');
  pin(loop, placement[1]);
  const told = linesOf(loop);
  const sent = await sendTo(event, rounds, placement);
  const [, ...times] = await told;
  event.close();
  return latencies(sent, times.map(BigInt));
}

/** Nanoseconds of an event of so many eventfds in a C process, which is like `costOfEvent`. */
async function costInC(count: number, events: number): Promise<number> {
  const child = spawn(program, ['many', String(count), String(events)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return Number((await linesOf(child))[0]);
}

/** Here: `listen` notes when it was told. */
async function here(
  rounds: number,
  placement: Placement,
  listen: (vector: InterruptVector, note: (count: number) => void) => void,
): Promise<number[]> {
  const event = Eventfd.open('the benchmark');
  const vector = InterruptVector.of({ name: 'msix', index: 2 }, 0, event);
  const told: bigint[] = [];
  pin(process, placement[1]);
  listen(vector, (count) => {
    const now = process.hrtime.bigint();
    // On a busy machine a signal may have to wait for the next one.
    for (let left = count; left > 0; left--) told.push(now);
  });
  const sent = await sendTo(event, rounds, placement);
  pin(process, -1);
  vector.end();
  return latencies(sent, told);
}

function inHandler(rounds: number, placement: Placement): Promise<number[]> {
  return here(rounds, placement, (vector, note) => vector.on('interrupt', note));
}

function byWait(rounds: number, placement: Placement): Promise<number[]> {
  return here(rounds, placement, (vector, note) => {
    void (async () => {
      for (;;) note(await vector.wait());
      // It is over with the vector.
    })().catch(() => undefined);
  });
}

/** Nanoseconds of an event, of which 16 are signalled at a time, each on another of the vectors. */
async function costOfEvent(count: number, events: number): Promise<number> {
  const atATime = 16;
  let told = 0;
  let done = (): void => undefined;
  const all = Array.from({ length: count }, (_, index) => {
    const event = Eventfd.open('the benchmark');
    const vector = InterruptVector.of(nobodys, index, event);
    vector.on('interrupt', () => {
      if (++told % atATime === 0) done();
    });
    return { vector, native: event.native };
  });
  const native = binding();
  const signal = (fd: NativeFd | undefined): void => {
    if (fd !== undefined) native.eventfdWrite(fd, 1);
  };
  const rounds = events / atATime;
  let begin = 0n;
  // A tenth before, to warm up.
  for (let round = -rounds / 10; round < rounds; round++) {
    if (round === 0) begin = process.hrtime.bigint();
    const heard = new Promise<void>((resolve) => {
      done = resolve;
    });
    // Far apart, so that every vector has its turn.
    for (let at = 0; at < atATime; at++) {
      const which = (Math.abs(round) * atATime + at * (count / atATime)) % count;
      signal(all[Math.floor(which)]?.native);
    }
    await heard;
  }
  const cost = Number(process.hrtime.bigint() - begin) / events;
  for (const { vector } of all) vector.end();
  return cost;
}

const us = (nanoseconds: number): string => (nanoseconds / 1000).toFixed(2);

const rounds = Number(positionals()[0] ?? '500');
const turns = 10;

const placements: Record<string, Placement> = {
  anywhere: [-1, -1],
  'on two processors': [0, 1],
  'on one processor': [1, 1],
};

const rows: string[][] = [];

for (const [where, placement] of Object.entries(placements)) {
  const [c, handler, wait]: number[][] = [[], [], []];
  for (let turn = 0; turn < turns; turn++) {
    c?.push(...(await inC(rounds, placement)));
    handler?.push(...(await inHandler(rounds, placement)));
    wait?.push(...(await byWait(rounds, placement)));
  }
  for (const [name, at] of [
    // Where nobody else wanted the processor.
    ['p10', 0.1],
    ['p50', 0.5],
    ['p99', 0.99],
  ] as const) {
    const [inLoop = NaN, told = NaN, waited = NaN] = [c, handler, wait].map((each) =>
      quantile(each ?? [], at),
    );
    const ratios = [us(told), ratio(told, inLoop), us(waited), ratio(waited, inLoop)];
    rows.push([`${name}, ${where}`, us(inLoop), ...ratios]);
  }
}

const ways = { 'C epoll loop': costInC, handlers: costOfEvent };
const costs = Object.keys(ways).map((name) => ({
  name,
  few: [] as number[],
  many: [] as number[],
}));

for (let turn = 0; turn < 7; turn++) {
  for (const [at, cost] of Object.values(ways).entries()) {
    costs[at]?.few.push(await cost(16, 64_000));
    costs[at]?.many.push(await cost(4096, 64_000));
  }
}

const [inC16, inC4096] = [median(costs[0]?.few ?? []), median(costs[0]?.many ?? [])];
const [here16, here4096] = [median(costs[1]?.few ?? []), median(costs[1]?.many ?? [])];

rows.push(
  ['an event of 16 eventfds', us(inC16), us(here16), ratio(here16, inC16), '', ''],
  ['an event of 4,096', us(inC4096), us(here4096), ratio(here4096, inC4096), '', ''],
  ['the second ÷ the first', ratio(inC4096, inC16), ratio(here4096, here16), '', '', ''],
);

showTables(`an eventfd's way to a handler, ${turns} × ${rounds} signals of each, in turns`, [
  {
    name: 'interrupt',
    header: ['', 'C epoll loop, µs', 'handler, µs', '÷ C', 'wait(), µs', '÷ C'],
    rows,
  },
]);
