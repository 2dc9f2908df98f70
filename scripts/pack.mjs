import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { unpack } from './unpack.mjs';

/**
 * Packs what was built in a checkout, as it is published; answers the tarball's path. Its
 * package.json has no scripts, which are the checkout's: of one with `prepare` npm asks its users
 * whether it may be run, where they install the tarball from a file.
 */
export function pack(checkout, folder) {
  const unpacked = unpack(packed(checkout, folder));
  try {
    const file = join(unpacked, 'package.json');
    const { scripts, ...manifest } = JSON.parse(readFileSync(file, 'utf8'));
    if (scripts === undefined) throw new Error('package.json has no scripts to leave out');
    writeFileSync(file, `${JSON.stringify(manifest, undefined, 2)}\n`);
    return packed(unpacked, folder);
  } finally {
    rmSync(unpacked, { recursive: true });
  }
}

function packed(cwd, folder) {
  const args = ['pack', '--ignore-scripts', '--json', '--pack-destination', folder];
  const { status, stdout, error } = spawnSync('npm', args, {
    cwd,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (error) throw error;
  if (status !== 0) throw new Error('npm pack failed');
  return join(folder, JSON.parse(stdout)[0].filename);
}
