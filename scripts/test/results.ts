// What the tests of a lane did, as the reporter tells it line by line.
import { existsSync, readFileSync } from 'node:fs';
import type { Failure, Report, Skip } from '../../test/support/reporter.ts';

export interface Results {
  passed: number;
  failures: Failure[];
  skips: Skip[];
  /** Whether its run came to its end. */
  isWhole: boolean;
  /** The test that began last. */
  last?: string | undefined;
  /** Of each test that passed: its title and how long it took. */
  times: { title: string; milliseconds: number }[];
}

/** Undefined where the lane told nothing. */
export function readResults(file: string): Results | undefined {
  if (!existsSync(file)) return undefined;
  // A line that its writer did not end is not whole.
  const lines = readFileSync(file, 'utf8').split('\n').slice(0, -1);
  if (lines.length === 0) return undefined;
  const results: Results = { passed: 0, failures: [], skips: [], isWhole: false, times: [] };
  for (const line of lines) take(JSON.parse(line) as Report, results);
  return results;
}

function take(report: Report, results: Results): void {
  switch (report.event) {
    case 'begin':
      results.last = report.title;
      break;
    case 'pass':
      results.passed++;
      results.times.push({ title: report.title, milliseconds: report.milliseconds });
      break;
    case 'fail':
      results.failures.push({ title: report.title, text: report.text });
      break;
    case 'skip':
      results.skips.push({ title: report.title, reason: report.reason });
      break;
    case 'end':
      results.isWhole = true;
      break;
  }
}
