// npm test [-- lane…]: runs all lanes but those on demand, or those that are named, and says at the end how they went.
// Its last line is `N passed, N failed, N skipped`.
import { mkdtempSync, rmSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { lanes } from './test/lanes.ts';
import { endLanes, runLane, type Outcome } from './test/run_lane.ts';
import { runAll } from './test/schedule.ts';
import { summarize } from './test/summary.ts';

process.chdir(new URL('..', import.meta.url).pathname);
const names = process.argv.slice(2);
const unknown = names.filter((name) => !lanes.some((lane) => lane.name === name));
if (unknown.length > 0) {
  const known = lanes.map(({ name }) => name).join(', ');
  console.error(`test: there is no lane ${unknown.join(', ')}; there are ${known}`);
  process.exit(2);
}

const folder = mkdtempSync(join(tmpdir(), 'vfio-tests-'));
process.on('exit', () => {
  rmSync(folder, { recursive: true });
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => void endLanes().then(() => process.exit(128 + constants.signals[signal]))); // prettier-ignore
}

const chosen = lanes.filter(({ name, isOnDemand = false }) =>
  names.length === 0 ? !isOnDemand : names.includes(name),
);
// A VM has two processors, of which a test keeps one busy.
const outcomes = await runAll({
  lanes: chosen,
  slots: 2,
  run: (lane) => runLane(lane, folder),
  onEnd: show,
});
const { text, status } = summarize(outcomes);
process.stdout.write(`\n${text}`);
process.exitCode = status;

function show({ lane, seconds, printed }: Outcome): void {
  process.stdout.write(`\n# ${lane} (${seconds} s)\n${printed}`);
}
