// Compiles the device tests and benchmarks to build-test/: loading TypeScript takes half a minute in
// the lab's emulated machine.
import { spawnSync } from 'node:child_process';
import { lstatSync, mkdirSync, symlinkSync } from 'node:fs';

mkdirSync('build-test', { recursive: true });
// The compiled lib/ looks for the addon beside itself.
if (!lstatSync('build-test/build', { throwIfNoEntry: false })) {
  symlinkSync('../build', 'build-test/build');
}
const { status, error } = spawnSync('tsc', ['-p', 'tsconfig.test.json'], { stdio: 'inherit' });
if (error) throw error;
process.exit(status ?? 1);
