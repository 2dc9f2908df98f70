// Compiles the C programs of bench/baseline into build-baseline/, against VFIO headers that have
// the device cdev: the system's where they do, else those of the lab.
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { labHeaders } from '../lab/headers.ts';

const root = new URL('../', import.meta.url).pathname;
const programs = ['dma', 'eventfd', 'fleet', 'info', 'list', 'nvme', 'open', 'path', 'region'];
const flags = ['-std=gnu17', '-O2', '-Wall', '-Wextra', '-Werror'];

const include = systemHeadersSuffice() ? [] : ['-isystem', await labHeaders('6.12')];
mkdirSync(`${root}build-baseline`, { recursive: true });
for (const program of programs) {
  const sources = [program, 'cdev', 'group'].map((name) => `bench/baseline/${name}.c`);
  gcc([...flags, ...include, ...sources, '-pthread', '-o', `build-baseline/${program}`]);
}
// They stand alone, as what is preloaded does.
for (const program of ['dirty', 'map']) {
  gcc([...flags, ...include, `bench/baseline/${program}.c`, '-o', `build-baseline/${program}`]);
}
const shared = ['-shared', '-fPIC', 'bench/baseline/iommufd.c'];
gcc([...flags, ...include, ...shared, '-o', 'build-baseline/iommufd.so']);

// Addons in C.
const { include_dir: nodeApi } = createRequire(import.meta.url)('node-api-headers') as {
  include_dir: string;
};
for (const addon of ['malloc', 'noop']) {
  const output = `build-baseline/${addon}.node`;
  gcc([...flags, '-shared', '-fPIC', '-I', nodeApi, `bench/baseline/${addon}.c`, '-o', output]);
}

function systemHeadersSuffice(): boolean {
  const probe =
    '#include <linux/vfio.h>\n#include <linux/iommufd.h>\nint x[VFIO_DEVICE_BIND_IOMMUFD];';
  return spawnSync('gcc', ['-fsyntax-only', '-xc', '-'], { input: probe }).status === 0;
}

function gcc(args: string[]): void {
  const { status, error } = spawnSync('gcc', args, { cwd: root, stdio: 'inherit' });
  if (error) throw error;
  if (status !== 0) process.exit(1);
}
