import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Output } from '../command.ts';
import { type Round, type Step, steps } from './paths.ts';

/** One way to do the work, with what its rounds took. */
export interface Way<Result = Round> {
  /** Makes so many rounds, in a row. */
  run: (count: number) => Promise<Result[]>;
  rounds: Result[];
}

export interface Plan {
  /** Rounds of each way before those that count. */
  warmUp: number;
  rounds: number;
  /** Rounds in a row before it is another's turn. */
  turn: number;
}

/**
 * Makes the rounds of all ways in turns, so that what slows the machine down for a while slows down
 * all of them.
 */
export async function interleave<Result>(
  ways: readonly Way<Result>[],
  { warmUp, rounds, turn }: Plan,
  onProgress?: (done: number, total: number) => void,
): Promise<void> {
  const total = ways.length * (warmUp + rounds);
  let done = 0;
  for (const phase of [
    { length: warmUp, counts: false },
    { length: rounds, counts: true },
  ]) {
    for (let made = 0; made < phase.length; made += turn) {
      const count = Math.min(turn, phase.length - made);
      for (const way of ways) {
        const results = await way.run(count);
        if (phase.counts) way.rounds.push(...results);
        onProgress?.((done += count), total);
      }
    }
  }
}

/**
 * Makes so many rounds, each in a turn of the event loop of its own: until a turn ends, the engine
 * keeps all that was referred to weakly, which devices are.
 */
export async function repeat<Result>(
  count: number,
  make: () => Result | Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = [];
  while (results.length < count) {
    results.push(await make());
    await nextTurn();
  }
  return results;
}

const width = 30;

/** Draws how much is done on the terminal, if there is one, and removes it at the end. */
export function progressBar(
  { progress }: Output,
  what: string,
): ((done: number, total: number) => void) | undefined {
  if (progress === undefined) return undefined;
  return (done, total) => {
    const full = Math.floor((width * done) / total);
    const bar = '#'.repeat(full).padEnd(width, '.');
    progress(done === total ? '' : `${what} [${bar}] ${done} of ${total} rounds`);
  };
}

/** What many times of one thing come to, in nanoseconds. */
export interface Summary {
  median: number;
  p99: number;
  min: number;
}

/** The value that such a part of all values do not exceed; of none NaN. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? NaN;
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

export function summary(values: readonly number[]): Summary {
  return { median: median(values), p99: quantile(values, 0.99), min: quantile(values, 0) };
}

/** The rows of every report: each step, and sums of them. */
export type Row = Step | 'total' | 'outside bind, close';

/** The times of each row that the rounds have. */
export function timesOf(rounds: readonly Round[]): Map<Row, number[]> {
  const has = steps.filter((step) => rounds.some((round) => round[step] !== undefined));
  const outside = has.filter((step) => step !== 'bind' && step !== 'close');
  const parts: [Row, readonly Step[]][] = [
    ...has.map((step): [Row, Step[]] => [step, [step]]),
    ['total', has],
    ['outside bind, close', outside],
  ];
  return new Map(parts.map(([row, of]) => [row, rounds.map((round) => sum(round, of))]));
}

function sum(round: Round, of: readonly Step[]): number {
  return of.reduce((all, step) => all + (round[step] ?? 0), 0);
}
