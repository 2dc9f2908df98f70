import { steps, type Round, type Step } from './steps.ts';

/** Rows of the table: each step, and sums of them. */
const rows: Record<string, readonly Step[]> = {
  ...Object.fromEntries(steps.map((step) => [step, [step]])),
  total: steps,
  'outside bind, close': steps.filter((step) => step !== 'bind' && step !== 'close'),
};

/** Medians of every way, and the ratio of each to C. */
export function report(title: string, { c, ...ways }: Record<'c', Round[]> & Ways): string {
  const header = ['', 'C', ...Object.keys(ways).flatMap((way) => [way, '÷ C'])];
  const table = Object.entries(rows).map(([name, of]) => {
    const base = median(c, of);
    const cells = Object.values(ways).flatMap((rounds) => {
      const time = median(rounds, of);
      return [microseconds(time), (time / base).toFixed(2)];
    });
    return [name, microseconds(base), ...cells];
  });
  const lines = [header, ...table].map(([name = '', ...cells]) =>
    [name.padEnd(20), ...cells.map((cell) => cell.padStart(9))].join(''),
  );
  return [title, ...lines].join('\n');
}

type Ways = Record<string, Round[]>;

function median(rounds: Round[], of: readonly Step[]): number {
  const sums = rounds.map((round) => of.reduce((sum, step) => sum + round[step], 0));
  return sums.sort((a, b) => a - b)[Math.floor(sums.length / 2)] ?? NaN;
}

function microseconds(nanoseconds: number): string {
  return (nanoseconds / 1000).toFixed(1);
}
