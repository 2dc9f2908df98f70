import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';

import { withLock } from './lock.ts';
import { note } from './progress.ts';

const HALF_MADE = 'making-';
/** Kernels of other versions of this recipe are kept for a while: other checkouts may use them. */
const KEPT_DAYS = 30;

/** Where the kernels are kept: one folder per user, shared by every checkout. */
export function cacheRoot(env: NodeJS.ProcessEnv = process.env): string {
  const base = env['XDG_CACHE_HOME'];
  // The XDG specification says that a relative path is to be ignored.
  const cache = base?.startsWith('/') ? base : join(homedir(), '.cache');
  return join(cache, 'vfio-lab');
}

/** A short name for "made in exactly this way", so that a changed recipe is not served stale. */
export function recipeHash(...parts: readonly string[]): string {
  return createHash('sha256').update(parts.join('\0')).digest('hex').slice(0, 12);
}

/**
 * Makes `<cache>/<name>` by `build`, once. What exists under its final name is complete: it is
 * built under another name in the same filesystem and renamed when done, so whoever is killed
 * half-way leaves only rubbish, which the next one under the lock removes.
 */
export async function provide(
  cache: string,
  name: string,
  build: (folder: string) => Promise<void>,
): Promise<string> {
  const final = join(cache, name);
  if (existsSync(final)) {
    const now = new Date();
    await utimes(final, now, now);
    return final;
  }
  await mkdir(cache, { recursive: true });
  await withLock(join(cache, 'lock'), async () => {
    if (existsSync(final)) return;
    await removeUnused(cache);
    const folder = await mkdtemp(join(cache, HALF_MADE));
    try {
      await build(folder);
      await rename(folder, final);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
  return final;
}

/** Only under the lock: what is half made then has lost its maker. */
async function removeUnused(cache: string): Promise<void> {
  const oldest = Date.now() - KEPT_DAYS * 86_400_000;
  for (const entry of await readdir(cache, { withFileTypes: true })) {
    if (!entry.isDirectory() || entry.name === 'logs') continue;
    const path = join(cache, entry.name);
    const half = entry.name.startsWith(HALF_MADE);
    if (!half && (await stat(path)).mtimeMs > oldest) continue;
    note(`removing ${entry.name}, ${half ? 'left by an interrupted start' : 'no longer used'}`);
    await rm(path, { recursive: true, force: true, maxRetries: 5 });
  }
}
