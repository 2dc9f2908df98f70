// npm run coverage [-- --unit]: what the unit tests (here) and the device tests (in the lab) run of lib/,
// as V8 counts it, and of native/, as gcov does; together, and not less than the floors below. With
// --unit the unit tests alone, and no floors.
import { mkdirSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { nativeCoverage } from './native-coverage.mjs';
import { runOrExit, statusOf } from './run.mjs';
import { buildWatched } from './watched.mjs';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));
const { values } = parseArgs({ options: { unit: { type: 'boolean' } } });
/** What the lab ends with where its VM died, and how often it is begun. */
const vmDied = 125;
const attempts = 3;
/**
 * Device tests that fail where it is counted. Programs of the first four may not write where the counts
 * go, and Node and gcov say so on standard error; the worker of the last is there only where the example
 * is compiled.
 */
const cannotCount = [
  'lets an ordinary user drive a device',
  'says which rights a node has that another user may not open',
  'says of a user that a folder on the way to a node shuts him out',
  'says that little memory may be locked, unless a capability lifts that',
  'reads by a loop of its own, and by workers',
];
const floors = { lines: 95, branches: 92, native: 90 };

const folder = resolve('coverage/tmp');
// What gcov counts in the lab, whose guest writes nowhere else.
const inLab = `${folder}/gcov`;
rmSync('coverage', { recursive: true, force: true });
mkdirSync(inLab, { recursive: true });

const { addon } = buildWatched('gcov');
const objects = resolve('build-gcov/CMakeFiles/vfio.dir/native');
runOrExit('find', [objects, '-name', '*.gcda', '-delete']);

const watched = { NODE_V8_COVERAGE: folder, VFIO_ADDON_PATH: addon };
// As modules everywhere: what tsx makes for require() is another text of the same address, and V8
// counts places of a text.
const asModules = '--import=tsx/esm';
const mocha = ['--no-config', '--timeout', '600000'];
const unit = [
  ...[...mocha, asModules, '--parallel', 'test/unit/*.test.ts'],
  ...['--require', './test/support/whole_errors.ts', '--require', './test/support/tree.ts'],
];
const statuses = [statusOf('mocha', unit, watched)];
if (!values.unit) statuses.push(runDeviceTests());

const checks = [`--lines=${floors.lines}`, `--branches=${floors.branches}`];
const report = statusOf('c8', [
  'report',
  `--temp-directory=${folder}`,
  '--include=lib/**/*.ts',
  '--reporter=text',
  '--reporter=html',
  ...(values.unit ? [] : ['--check-coverage', '--functions=0', '--statements=0', ...checks]),
]);
const percent = nativeCoverage(objects, inLab);
console.log(`native/: ${percent.toFixed(2)} % of its lines`);
const isLow = !values.unit && percent < floors.native;
if (isLow) console.error(`coverage: native/ is below ${floors.native} %`);
process.exitCode = [...statuses, report].find((status) => status !== 0) ?? (isLow ? 1 : 0);

/** From their sources, as the unit tests run. */
function runDeviceTests() {
  runOrExit('npm', ['run', '--silent', 'build:baseline']);
  runOrExit('npm', ['run', '--silent', 'build:test']);
  const variables = { ...watched, GCOV_PREFIX: inLab };
  const lab = [
    ...['run', '--silent', 'lab', '--', '--nvme', '2', '--cpus', '1', '--deadline', '7200'],
    ...['--results', folder],
    ...Object.entries(variables).flatMap(([name, value]) => ['--env', `${name}=${value}`]),
  ];
  const tests = [
    ...['node', asModules, 'node_modules/mocha/bin/mocha.js', ...mocha],
    ...['--grep', cannotCount.join('|'), '--invert', 'test/device/*.test.ts'],
  ];
  for (let left = attempts; ; left--) {
    const status = statusOf('npm', [...lab, '--', ...tests]);
    if (status !== vmDied || left === 1) return status;
    console.log('coverage: the VM died; once more');
  }
}
