// Mocha's `spec`, which also writes what happened to the file of --reporter-option output=FILE, for the
// summary of `npm test`.
import Mocha from 'mocha';
import { writeFileSync } from 'node:fs';
import { stripVTControlCharacters } from 'node:util';

/** A test that failed: its titles from the outermost on, and its error. */
export interface Failure {
  title: string;
  text: string;
}

/** A test that was not run, and what it needs: as the parenthesis at the end of its title says. */
export interface Skip {
  title: string;
  reason: string;
}

/** What the tests of one run of mocha did. */
export interface Results {
  passed: number;
  failures: Failure[];
  skips: Skip[];
}

type Options = Mocha.MochaOptions & { reporterOption?: { output?: string } };

export default class Reporter extends Mocha.reporters.Spec {
  constructor(runner: Mocha.Runner, options?: Options) {
    super(runner, options);
    const output = options?.reporterOption?.output;
    if (output !== undefined) record(runner, output);
  }
}

function record(runner: Mocha.Runner, output: string): void {
  const results: Results = { passed: 0, failures: [], skips: [] };
  runner.on('pass', () => {
    results.passed++;
  });
  runner.on('pending', (test) => {
    const titles = test.titlePath();
    results.skips.push({ title: titles.join(' › '), reason: reasonIn(titles) });
  });
  runner.on('fail', (test, error: Error) => {
    const text = stripVTControlCharacters(error.stack ?? String(error));
    results.failures.push({ title: test.titlePath().join(' › '), text });
  });
  runner.on('end', () => {
    writeFileSync(output, JSON.stringify(results));
  });
}

/** That of the innermost title which has one. */
export function reasonIn(titles: readonly string[]): string {
  for (const title of titles.toReversed()) {
    const reason = / \(([^()]+)\)$/.exec(title)?.[1];
    if (reason !== undefined) return reason;
  }
  return 'no reason is given';
}
