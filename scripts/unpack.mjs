import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Unpacks a package's tarball into a new folder, which is the caller's to remove. */
export function unpack(tarball) {
  const folder = mkdtempSync(join(tmpdir(), 'vfio-unpacked-'));
  try {
    extract(tarball, folder);
  } catch (error) {
    rmSync(folder, { recursive: true });
    throw error;
  }
  return folder;
}

function extract(tarball, folder) {
  // npm packs everything below one folder, package/.
  const args = ['--extract', '--strip-components=1', '--file', tarball, '--directory', folder];
  const { status, error } = spawnSync('tar', args, { stdio: 'inherit' });
  if (error) throw error;
  if (status !== 0) throw new Error(`tar could not unpack ${tarball}`);
}
