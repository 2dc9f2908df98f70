import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from '../test/support/root.ts';

/** What `npm pack` tells of a tarball. */
interface Packed {
  filename: string;
  /** Bytes. */
  size: number;
  unpackedSize: number;
  entryCount: number;
}

/** Runs `body` with a temporary folder and the checkout's tarball in it. */
export async function withTarball(
  body: (folder: string, tarball: Packed) => unknown,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'vfio-installed-'));
  try {
    const args = ['pack', '--ignore-scripts', '--json', '--pack-destination', folder];
    const told = execFileSync('npm', args, { cwd: root, encoding: 'utf8' });
    const [tarball] = JSON.parse(told) as [Packed];
    await body(folder, { ...tarball, filename: join(folder, tarball.filename) });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Installs the tarball into a new folder of `folder`, running no scripts, and tells which. */
export function install(folder: string, tarball: Packed): string {
  const prefix = mkdtempSync(join(folder, 'project-'));
  const options = ['--ignore-scripts', '--no-audit', '--no-fund', '--prefix', prefix];
  execFileSync('npm', ['install', ...options, tarball.filename], { cwd: prefix, stdio: 'pipe' });
  return prefix;
}
