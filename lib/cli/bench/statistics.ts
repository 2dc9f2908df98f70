import { steps, type Round, type Step } from './steps.ts';

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

export function summary(values: readonly number[]): Summary {
  return { median: quantile(values, 0.5), p99: quantile(values, 0.99), min: quantile(values, 0) };
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
