// npm run build:prebuilds [-- --available | x64 arm64]: the addons that are published, one for each
// architecture of Linux with glibc, into prebuilds/; --available leaves out those that no compiler
// is installed for. That of this machine's architecture is the one in build/Release, without the
// symbols for debuggers; others are cross-compiled in folders of their own.
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { hashOfSources, isBuilt } from './native-sources.mjs';
import { buildAddon, copySources } from './node-gyp.mjs';
import { runOrExit } from './run.mjs';

/** The names of GNU's tools for the architectures of Node; Debian's packages are called alike. */
const machines = { x64: 'x86-64-linux-gnu', arm64: 'aarch64-linux-gnu' };

process.chdir(fileURLToPath(new URL('..', import.meta.url)));
const { values, positionals } = parseArgs({
  options: { available: { type: 'boolean' } },
  allowPositionals: true,
});
const wanted = positionals.length > 0 ? positionals : Object.keys(machines);
for (const target of wanted) {
  if (!(target in machines)) fail(`there are no prebuilt addons for ${target}`);
}
for (const target of wanted) {
  const prefix = prefixOf(target);
  if (!hasCompiler(prefix)) {
    const lacking = `to build for ${target}: apt-get install -y g++-${machines[target]}`;
    if (!values.available) fail(lacking);
    console.error(`build:prebuilds: left out; ${lacking}`);
    continue;
  }
  const built = target === process.arch ? buildHere() : buildAcross(target, prefix);
  const place = `prebuilds/linux-${target}/vfio.glibc.node`;
  mkdirSync(`prebuilds/linux-${target}`, { recursive: true });
  runOrExit(`${prefix}strip`, ['--strip-all', '-o', place, built]);
}

/** Of the names of the compiler and its kin. */
function prefixOf(target) {
  return target === process.arch ? '' : `${machines[target].replace('x86-64', 'x86_64')}-`;
}

function hasCompiler(prefix) {
  return spawnSync(`${prefix}g++`, ['--version']).error === undefined;
}

function buildHere() {
  runOrExit(process.execPath, ['scripts/build-native.mjs']);
  return 'build/Release/vfio.node';
}

function buildAcross(target, prefix) {
  const folder = `build-prebuilds/${target}`;
  const addon = `${folder}/build/Release/vfio.node`;
  const stamp = `${folder}/vfio.sources`;
  const sources = hashOfSources(target);
  if (isBuilt(addon, stamp, sources)) return addon;

  copySources('.', folder);
  const env = { CC: `${prefix}gcc`, CXX: `${prefix}g++`, AR: `${prefix}ar` };
  const options = [`--arch=${target}`, '--warnings_are_errors=true'];
  const status = buildAddon({ folder, options, env });
  if (status !== 0) process.exit(status);
  writeFileSync(stamp, sources);
  return addon;
}

function fail(message) {
  console.error(`build:prebuilds: ${message}`);
  process.exit(1);
}
