// Builds the addon with node-gyp, against the headers of the Node that runs. Does nothing where the
// same sources were built before: `npm ci` gives every header a new date, which would have make build
// everything again.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { cpus } from 'node:os';
import { resolve } from 'node:path';

const addon = 'build/Release/vfio.node';
const stamp = 'build/Release/vfio.sources';
const sources = hashOfSources();
if (existsSync(addon) && existsSync(stamp) && readFileSync(stamp, 'utf8') === sources)
  process.exit();

const tools = [
  { command: 'g++', debian: 'g++' },
  { command: 'make', debian: 'make' },
  { command: 'python3', debian: 'python3' },
];

const lacking = tools.filter(({ command }) => !runs(command)).map(({ debian }) => debian);
if (lacking.length > 0) {
  console.error(`vfio: to build the addon, install: apt-get install -y ${lacking.join(' ')}`);
  process.exit(1);
}

// Without the headers beside the running Node, node-gyp downloads those of its version.
const nodeRoot = resolve(process.execPath, '../..');
const headers = existsSync(`${nodeRoot}/include/node/node_api.h`) ? [`--nodedir=${nodeRoot}`] : [];
const nodeGyp = createRequire(import.meta.url).resolve('node-gyp/bin/node-gyp.js');
const build = spawnSync(
  process.execPath,
  [nodeGyp, 'configure', 'build', '--loglevel=warn', '-j', String(cpus().length), ...headers],
  // make's progress is of no interest; the compiler's complaints come on standard error.
  { stdio: ['ignore', 'ignore', 'inherit'] },
);
if (build.error) throw build.error;
if (build.status === 0) writeFileSync(stamp, sources);
process.exitCode = build.status ?? 1;

function runs(command) {
  return spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;
}

function hashOfSources() {
  const require = createRequire(import.meta.url);
  const { version } = require('node-addon-api/package.json');
  const hash = createHash('sha256').update(`${process.version} ${process.arch} ${version}`);
  const files = readdirSync('native', { recursive: true }).filter((name) => /\.(cc|h)$/.test(name));
  for (const file of ['binding.gyp', ...files.sort().map((name) => `native/${name}`)]) {
    hash.update(`\0${file}\0`).update(readFileSync(file));
  }
  return hash.digest('hex');
}
