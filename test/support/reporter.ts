// Mocha's `spec`, which also writes what happens, while it happens, to the file of
// --reporter-option output=FILE, for the summary of `npm test`: a line of JSON for each event. So a
// run that is cut short has told what it knew until then.
import Mocha from 'mocha';
import { appendFileSync, writeFileSync } from 'node:fs';
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

/** One line of the file. */
export type Report =
  | { event: 'begin'; title: string }
  | { event: 'pass'; title: string; milliseconds: number }
  | ({ event: 'fail' } & Failure)
  | ({ event: 'skip' } & Skip)
  | { event: 'end' };

type Options = Mocha.MochaOptions & { reporterOption?: { output?: string } };

export default class Reporter extends Mocha.reporters.Spec {
  constructor(runner: Mocha.Runner, options?: Options) {
    super(runner, options);
    const output = options?.reporterOption?.output;
    if (output !== undefined) record(runner, output);
  }
}

function record(runner: Mocha.Runner, output: string): void {
  writeFileSync(output, '');
  // Opened anew for each line: tests count the descriptors of their process.
  const report = (line: Report): void => {
    appendFileSync(output, `${JSON.stringify(line)}\n`);
  };
  let hasFailed = false;
  runner.on('test', (test) => {
    report({ event: 'begin', title: titleOf(test) });
  });
  runner.on('pass', (test) => {
    report({ event: 'pass', title: titleOf(test), milliseconds: test.duration ?? 0 });
  });
  runner.on('pending', (test) => {
    report({ event: 'skip', title: titleOf(test), reason: reasonIn(test.titlePath()) });
  });
  runner.on('fail', (test, error: Error) => {
    hasFailed = true;
    const text = stripVTControlCharacters(error.stack ?? String(error));
    report({ event: 'fail', title: titleOf(test), text });
  });
  runner.on('end', () => {
    report({ event: 'end' });
    if (hasFailed) endInAnyCase();
  });
}

/** What failed may have left something open, a device or a worker, that keeps the process. */
function endInAnyCase(): void {
  setTimeout(() => process.exit(1), 5000).unref();
}

function titleOf(test: Mocha.Runnable): string {
  return test.titlePath().join(' › ');
}

/** That of the innermost title which has one. */
export function reasonIn(titles: readonly string[]): string {
  for (const title of titles.toReversed()) {
    const reason = / \(([^()]+)\)$/.exec(title)?.[1];
    if (reason !== undefined) return reason;
  }
  return 'no reason is given';
}
