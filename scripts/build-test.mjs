// Compiles the device tests and benchmarks to build-test/: loading TypeScript takes half a minute
// in the lab's emulated machine.
import { spawnSync } from 'node:child_process';
import { build } from 'esbuild';
import { copyFileSync, lstatSync, mkdirSync, statSync, symlinkSync } from 'node:fs';
import { basename } from 'node:path';
import { buildAddon } from './node-gyp.mjs';

mkdirSync('build-test', { recursive: true });
// The compiled lib/ looks for the addon beside itself.
if (!lstatSync('build-test/build', { throwIfNoEntry: false })) {
  symlinkSync('../build', 'build-test/build');
}
const { status, error } = spawnSync('tsc', ['-p', 'tsconfig.test.json'], { stdio: 'inherit' });
if (error) throw error;
if (status !== 0) process.exit(status ?? 1);

// What the tests start many times, as a worker or a process, is one file each: modules load slowly
// there.
await build({
  entryPoints: [
    ...[
      'cli_runs_child',
      'fail_nth_program',
      'handed_device',
      'holder',
      'interrupt_worker',
      'irq_worker',
      'late_opener',
      'lives',
      'nvme_worker',
      'vector_worker',
      'watch_worker',
      'way_opener',
    ].map((name) => `test/support/${name}.ts`),
    'test/soak/life.ts',
    'test/soak/node_racer.ts',
  ]
    .map((file) => ({ in: file, out: basename(file, '.ts') }))
    .concat(
      // For programs that a test has as text.
      { in: 'lib/index.ts', out: 'vfio' },
      { in: 'examples/nvme/main.ts', out: 'nvme_command' },
      // By the name by which the command starts it.
      { in: 'examples/nvme/worker.ts', out: 'worker' },
    ),
  outdir: 'build-test/programs',
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  sourcemap: true,
});

// What does to the kernel what no program in JavaScript can.
const cc = (...args) => {
  const { status, error } = spawnSync('gcc', ['-Wall', '-Wextra', '-O1', ...args], {
    stdio: 'inherit',
  });
  if (error) throw error;
  if (status !== 0) process.exit(status ?? 1);
};
cc('-o', 'build-test/programs/mock_iommu', 'test/support/mock_iommu.c');
cc('-shared', '-fPIC', '-o', 'build-test/programs/fail_nth.so', 'test/support/fail_nth.c', '-ldl');

// KVM for the example that is a VMM, and for the tests of what a VMM needs.
if (process.arch === 'x64') buildKvm();

function buildKvm() {
  const folder = 'examples/vmm/kvm';
  const built = `build-test/${folder}/kvm.node`;
  const age = (path) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  if (age(built) > Math.max(age(`${folder}/kvm.c`), age(`${folder}/binding.gyp`))) return;
  const status = buildAddon({ folder });
  if (status !== 0) process.exit(status);
  copyFileSync(`${folder}/build/Release/kvm.node`, built);
}
