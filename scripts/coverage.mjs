// npm run coverage: what of lib/ the unit tests (here) and the device tests (in the lab) run,
// together.
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { resolve } from 'node:path';

const folder = resolve('coverage/tmp');
rmSync('coverage', { recursive: true, force: true });
mkdirSync(folder, { recursive: true });

run('npm', ['run', '--silent', 'build:baseline']);
run('npm', ['run', '--silent', 'build:test']);
run('mocha', [], { NODE_V8_COVERAGE: folder });
const lab = ['--nvme', '2', '--results', folder, '--env', `NODE_V8_COVERAGE=${folder}`];
run('npm', ['run', '--silent', 'lab', '--', ...lab, 'npm', 'run', '--silent', 'test:device']);
run('c8', [
  'report',
  `--temp-directory=${folder}`,
  '--exclude-after-remap',
  '--include=lib/**/*.ts',
  '--reporter=text',
  '--reporter=html',
]);

function run(command, args, env = {}) {
  const options = { stdio: 'inherit', env: { ...process.env, ...env } };
  const { status, error } = spawnSync(command, args, options);
  if (error) throw error;
  if (status !== 0) process.exit(status ?? 1);
}
