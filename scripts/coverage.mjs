// npm run coverage: what of lib/ the unit tests (here) and the device tests (in the lab) run,
// together.
import { mkdirSync, rmSync } from 'node:fs';
import { resolve } from 'node:path';
import { runOrExit } from './run.mjs';

const folder = resolve('coverage/tmp');
rmSync('coverage', { recursive: true, force: true });
mkdirSync(folder, { recursive: true });

runOrExit('npm', ['run', '--silent', 'build:baseline']);
runOrExit('npm', ['run', '--silent', 'build:test']);
runOrExit('mocha', [], { NODE_V8_COVERAGE: folder });
const lab = ['--nvme', '2', '--results', folder, '--env', `NODE_V8_COVERAGE=${folder}`];
runOrExit('npm', ['run', '--silent', 'lab', '--', ...lab, 'npm', 'run', '--silent', 'test:device']);
runOrExit('c8', [
  'report',
  `--temp-directory=${folder}`,
  '--exclude-after-remap',
  '--include=lib/**/*.ts',
  '--reporter=text',
  '--reporter=html',
]);
