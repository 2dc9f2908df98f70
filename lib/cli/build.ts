import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { exitStatus, type Command } from './command.ts';

/** `vfio build` */
export const build: Command = {
  name: 'build',
  summary: 'Build the native addon from source, for this machine',
  positionals: [],
  options: {},
  details: `For machines that the package has no prebuilt addon for: musl, riscv64 and others. It takes a
minute or two, and needs g++ 10 or later, make and python3; node-gyp comes with npm. The
addon stays in the folder of the installed package: install anew, build anew.`,
  run: buildAddon,
};

async function buildAddon(): Promise<number> {
  const root = dirname(createRequire(import.meta.url).resolve('vfio/package.json'));
  const script = join(root, 'scripts/build-installed.mjs');
  const child = spawn(process.execPath, [script], { stdio: 'inherit' });
  const [status] = (await once(child, 'close')) as [number | null];
  return status === 0 ? exitStatus.ok : exitStatus.failed;
}
