// npm run release:check [-- --out DIR]: builds all that a release has, packs it, and proves that
// very tarball: its files, its binaries, its size, its types, and that it works where it is
// installed. With --out the tarball stays there, to be published; otherwise it is removed.
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { problemsOfBinaries } from './package-binaries.mjs';
import { problemsOfFiles } from './package-files.mjs';
import { packedSizes, problemsOfSize } from './package-size.mjs';
import { pack } from './pack.mjs';
import { statusOf } from './run.mjs';
import { unpack } from './unpack.mjs';

const { values } = parseArgs({ options: { out: { type: 'string' } } });
const out = values.out === undefined ? undefined : resolve(values.out);
const folder = out ?? mkdtempSync(join(tmpdir(), 'vfio-release-'));
const durations = [];
try {
  mkdirSync(folder, { recursive: true });
  timed('the build', () => {
    run('npm', ['run', '--silent', 'build:ts']);
    run('npm', ['run', '--silent', 'build:prebuilds']);
  });
  const tarball = timed('packing', () => pack(process.cwd(), folder));
  timed('the contents', () => checkContents(tarball));
  timed('publint', () => run('publint', ['--strict', tarball]));
  timed('attw', () => run('attw', ['--profile', 'esm-only', tarball]));
  timed('the tests of the package', () =>
    run('npm', ['run', '--silent', 'test:tarball'], {
      VFIO_TARBALL: tarball,
      VFIO_TEST_BUILD: '1',
    }),
  );
  console.log(`release:check: ${tarball} can be published`);
} catch (error) {
  console.error(`release:check: ${error.message}`);
  process.exitCode = 1;
} finally {
  if (out === undefined) rmSync(folder, { recursive: true });
  for (const line of durations) console.log(line);
}

function checkContents(tarball) {
  const unpacked = unpack(tarball);
  try {
    const problems = [...problemsOfFiles(unpacked), ...problemsOfBinaries(unpacked)];
    const sizes = packedSizes(unpacked);
    for (const { path, size } of sizes) {
      console.log(`release:check: ${size} bytes packed, with ${path} alone`);
    }
    if (problems.length === 0) problems.push(...problemsOfSize(sizes));
    if (problems.length > 0) throw new Error(`the tarball is wrong\n  ${problems.join('\n  ')}`);
  } finally {
    rmSync(unpacked, { recursive: true });
  }
}

function timed(what, work) {
  const begin = Date.now();
  const result = work();
  durations.push(`release:check: ${what} took ${((Date.now() - begin) / 1000).toFixed(1)} s`);
  return result;
}

function run(command, args, env) {
  if (statusOf(command, args, env) !== 0) throw new Error(`${[command, ...args].join(' ')} failed`);
}
