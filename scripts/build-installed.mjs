// npx vfio build: builds the addon from source into build/Release of the installed package.
// node-gyp works in a folder below it, since a package with a binding.gyp would be compiled by
// every npm ci.
import { accessSync, constants, mkdirSync, renameSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { buildAddon, copySources, requireTools } from './node-gyp.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = `${root}build/source`;
requireTools();
requireHeaders();
requireRoom();
try {
  copySources(root, folder);
  process.exitCode = buildAddon({ folder });
  if (process.exitCode === 0) {
    mkdirSync(`${root}build/Release`, { recursive: true });
    renameSync(`${folder}/build/Release/vfio.node`, `${root}build/Release/vfio.node`);
  }
} finally {
  rmSync(folder, { recursive: true });
}

/** A package manager may have put the dependency elsewhere, or left it out. */
function requireHeaders() {
  try {
    createRequire(import.meta.url).resolve('node-addon-api/package.json');
  } catch (error) {
    if (error.code !== 'MODULE_NOT_FOUND') throw error;
    fail('the package node-addon-api, which vfio depends on, is not installed beside it');
  }
}

function requireRoom() {
  try {
    accessSync(root, constants.W_OK);
  } catch (error) {
    fail(`the addon is built below ${root}, where this user cannot write (${error.code})`);
  }
}

function fail(message) {
  console.error(`vfio: ${message}`);
  process.exit(1);
}
