// Runs node-gyp to build the addon in a folder that holds binding.gyp and native/.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Returns the exit status. */
export function buildAddon({ folder, options = [], env = {} }) {
  const args = ['configure', 'build', '--loglevel=warn', '-j', String(availableParallelism())];
  const { status, error } = spawnSync(
    process.execPath,
    [nodeGyp(), ...args, ...headers(), ...options],
    {
      cwd: folder,
      env: { ...process.env, ...env },
      // make's progress is of no interest; the compiler's complaints come on standard error.
      stdio: ['ignore', 'ignore', 'inherit'],
    },
  );
  if (error) throw error;
  return status ?? 1;
}

/** Without the headers beside the running Node, node-gyp downloads those of its version. */
function headers() {
  const nodeRoot = resolve(process.execPath, '../..');
  return existsSync(`${nodeRoot}/include/node/node_api.h`) ? [`--nodedir=${nodeRoot}`] : [];
}

/**
 * That of this checkout; else the one that npm or pnpm brings, so that nobody has to install it.
 */
function nodeGyp() {
  const places = [fileURLToPath(import.meta.url), process.env.npm_execpath, npmBesideNode()];
  for (const place of places.filter((file) => file !== undefined)) {
    try {
      return createRequire(place).resolve('node-gyp/bin/node-gyp.js');
    } catch (error) {
      if (error.code !== 'MODULE_NOT_FOUND') throw error;
    }
  }
  console.error('vfio: there is no node-gyp here, nor in npm; run: npm install --no-save node-gyp');
  process.exit(1);
}

function npmBesideNode() {
  const npm = resolve(process.execPath, '../../lib/node_modules/npm/package.json');
  return existsSync(npm) ? npm : undefined;
}

/** A new folder to build in, with the sources of the package at `root`. */
export function copySources(root, folder) {
  rmSync(folder, { recursive: true, force: true });
  cpSync(join(root, 'native'), join(folder, 'native'), { recursive: true });
  // As that of a checkout, which an installed package has not.
  writeFileSync(join(folder, 'binding.gyp'), '{ "includes": ["native/vfio.gypi"] }\n');
}

/** Ends the program with what to install, where a tool is lacking. */
export function requireTools() {
  // It may be two words, such as ccache and a compiler.
  const [compiler = 'g++'] = process.env.CXX?.match(/\S+/) ?? [];
  const tools = [compiler, 'make', 'python3'];
  const lacking = tools.filter((tool) => spawnSync(tool, ['--version']).error !== undefined);
  if (lacking.length === 0) return;
  const names = lacking.join(' ');
  console.error(`vfio: to build the addon from source, install what is not there yet: ${names}`);
  console.error('  Debian, Ubuntu:  apt-get install -y g++ make python3');
  console.error('  Fedora, RHEL:    dnf install -y gcc-c++ make python3');
  console.error('  Alpine:          apk add g++ make python3');
  process.exit(1);
}
