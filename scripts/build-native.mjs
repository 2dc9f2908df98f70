// Builds the addon from source into build/Release, against the headers of the Node that runs.
// `npm run build:native` in a checkout, where nothing is done if the same sources were built before:
// `npm ci` gives every header a new date, which would have make build everything again.
// `npx vfio build` where the package is installed (--force).
import { spawnSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { hashOfSources, isBuilt } from './native-sources.mjs';
import { buildAddon } from './node-gyp.mjs';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));
const stamp = 'build/Release/vfio.sources';
const sources = hashOfSources(process.arch);
const isForced = process.argv.includes('--force');
if (!isForced && isBuilt('build/Release/vfio.node', stamp, sources)) process.exit();

requireTools();
const options = isForced ? [] : ['--warnings_are_errors=true'];
const status = buildAddon({ folder: '.', options });
if (status === 0) {
  writeFileSync(stamp, sources);
  // The object files are larger than the addon by far.
  if (isForced) rmSync('build/Release/obj.target', { recursive: true, force: true });
}
process.exitCode = status;

function requireTools() {
  const tools = [process.env.CXX ?? 'g++', 'make', 'python3'];
  const lacking = tools.filter((tool) => spawnSync(tool, ['--version']).error !== undefined);
  if (lacking.length === 0) return;
  const names = lacking.join(' ');
  console.error(`vfio: to build the addon from source, install what is not there yet: ${names}`);
  console.error('  Debian, Ubuntu:  apt-get install -y g++ make python3');
  console.error('  Fedora, RHEL:    dnf install -y gcc-c++ make python3');
  console.error('  Alpine:          apk add g++ make python3');
  process.exit(1);
}
