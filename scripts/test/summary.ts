// The end of what `npm test` prints: how all lanes went.
import type { Failure, Skip } from '../../test/support/reporter.ts';
import type { Outcome } from './run_lane.ts';

/** So many of the slowest tests are named: what to mend where the whole takes too long. */
const slowest = 8;

/** How much of a lane that crashed is shown once more: the end of what it printed. */
const shownLines = 40;

/** The text, whose last line CI reads, and the exit status of the whole run. */
export function summarize(outcomes: readonly Outcome[]): { text: string; status: number } {
  const failures = outcomes.flatMap((outcome) => namedBy(outcome.lane, failuresOf(outcome)));
  const skips = outcomes.flatMap(({ results }) => results?.skips ?? []);
  const passed = outcomes.reduce((sum, { results }) => sum + (results?.passed ?? 0), 0);
  const parts = [
    table(outcomes),
    ...outcomes.flatMap(({ lane, notes }) => notes.map((note) => `${lane}: ${note}`)),
    ...(failures.length > 0 ? [failureText(failures)] : []),
    ...(skips.length > 0 ? [skipText(skips)] : []),
    ...slowestText(outcomes),
    `${passed} passed, ${failures.length} failed, ${skips.length} skipped`,
  ];
  return { text: `${parts.join('\n\n')}\n`, status: failures.length > 0 ? 1 : 0 };
}

/** The failures of its tests; of the lane itself where it did not end as its tests say. */
export function failuresOf(outcome: Outcome): Failure[] {
  const failures = outcome.results?.failures ?? [];
  const wrong = wrongWith(outcome);
  return wrong === undefined ? failures : [...failures, { title: wrong, text: endOf(outcome) }];
}

function wrongWith({ status, isCheck, results }: Outcome): string | undefined {
  const how = status === null ? 'it was killed' : `it ended with status ${status}`;
  if (isCheck) return status === 0 ? undefined : how;
  if (!results) return `it crashed: ${how}, and told of no test`;
  if (!results.isWhole && results.last !== undefined)
    return `it was cut short in “${results.last}”, or after it: ${how}`;
  if (results.passed + results.failures.length === 0) return `it ran no test: ${how}`;
  // Mocha's status is the number of failures, as far as one byte goes.
  if (status === Math.min(results.failures.length, 255)) return undefined;
  return `it crashed: ${how}, after ${results.failures.length} failures`;
}

function endOf({ printed }: Outcome): string {
  return printed.trimEnd().split('\n').slice(-shownLines).join('\n');
}

function namedBy(lane: string, failures: readonly Failure[]): Failure[] {
  return failures.map(({ title, text }) => ({ title: `${lane} › ${title}`, text }));
}

function table(outcomes: readonly Outcome[]): string {
  const rows = outcomes.map((outcome) => {
    const { lane, results, seconds } = outcome;
    const failed = String(failuresOf(outcome).length);
    const counts = results
      ? [String(results.passed), failed, String(results.skips.length)]
      : ['-', failed, '-'];
    return [lane, ...counts, `${seconds} s`];
  });
  const all = [['lane', 'passed', 'failed', 'skipped', 'time'], ...rows];
  const widths = (all[0] ?? []).map((_, at) => Math.max(...all.map((row) => row[at]?.length ?? 0)));
  const line = (row: string[]): string =>
    row
      .map((cell, at) => (at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0)))
      .join('  ');
  return all.map(line).join('\n');
}

function failureText(failures: readonly Failure[]): string {
  const texts = failures.map(({ title, text }, at) => {
    return `${at + 1}) ${title}\n${text.replaceAll(/^(?=.)/gm, '   ')}`;
  });
  return [`${failures.length} failed:`, ...texts].join('\n\n');
}

/** How many are pending for each reason, the most frequent first. */
function skipText(skips: readonly Skip[]): string {
  const counts = new Map<string, number>();
  for (const { reason } of skips) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  const sorted = [...counts].sort(([, one], [, other]) => other - one);
  const lines = sorted.map(([reason, count]) => `   ${count}: ${reason}`);
  return [`${skips.length} skipped, for want of`, ...lines].join('\n');
}

function slowestText(outcomes: readonly Outcome[]): string[] {
  const all = outcomes.flatMap(({ lane, results }) =>
    (results?.times ?? []).map((time) => ({ lane, ...time })),
  );
  const first = all.sort((one, other) => other.milliseconds - one.milliseconds).slice(0, slowest);
  const lines = first.map(({ lane, title, milliseconds }) => {
    return `   ${Math.round(milliseconds / 1000)} s: ${lane} › ${title}`;
  });
  return lines.length > 0 ? [['the slowest tests', ...lines].join('\n')] : [];
}
