// Builds the targets of test/fuzz. Each includes the source of native/ that it tries: what that needs of
// Node is not there, and never called.
import { mkdirSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { runOrExit } from './run.mjs';

export const targets = readdirSync('test/fuzz')
  .filter((name) => name.endsWith('.cc') && name !== 'replay.cc')
  .map((name) => name.slice(0, -'.cc'.length));

/** Its path. `compiler` is clang++ with libFuzzer, or another with the `sources` of a main function. */
export function buildTarget(target, compiler, flags, sources = []) {
  mkdirSync('build-fuzz', { recursive: true });
  const { include_dir: nodeAddonApi } = createRequire(import.meta.url)('node-addon-api');
  const program = resolve(`build-fuzz/${target}`);
  runOrExit(compiler, [
    ...['-std=c++20', '-g', '-O1', '-fno-exceptions', '-fno-sanitize-recover=all', ...flags],
    ...['-DNAPI_VERSION=8', '-DNODE_ADDON_API_DISABLE_CPP_EXCEPTIONS'],
    ...['-isystem', nodeAddonApi.replaceAll('"', '')],
    ...['-isystem', resolve(process.execPath, '../../include/node')],
    // Lazy and at a fixed place: the loader asks for nothing that is not called.
    ...['-Wl,--unresolved-symbols=ignore-all', '-Wl,-z,lazy', '-no-pie'],
    ...['-o', program, `test/fuzz/${target}.cc`, ...sources],
  ]);
  return program;
}
