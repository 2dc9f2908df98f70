import type { Stats } from 'node:fs';
import { dirname } from 'node:path';
import { fs } from '../builtins.ts';
import type { Cause, Ownership } from '../reasons.ts';

/** Why opening a file answered EACCES: the first of its folders, or the file, that shuts us out. */
export function permissionCause(path: string): Cause {
  for (const folder of foldersTo(path)) {
    const stat = fs.statSync(folder);
    if (!grants(stat, 0o1)) return noPermission(folder, stat);
  }
  const stat = fs.statSync(path);
  if (!grants(stat, 0o6)) return noPermission(path, stat);
  const facts = { path, ...ownershipOf(stat) };
  return { reason: 'denied-by-policy', certainty: 'likely', facts };
}

function noPermission(path: string, stat: Stats): Cause {
  const facts = { path, ...ownershipOf(stat) };
  return { reason: 'no-permission', certainty: 'certain', facts };
}

/** From the root down. */
function foldersTo(path: string): string[] {
  const parent = dirname(path);
  return parent === path ? [path] : [...foldersTo(parent), parent];
}

/** Whether the mode gives this process all of `bits` (4 read, 2 write, 1 search). */
function grants({ mode, uid, gid }: Stats, bits: number): boolean {
  const user = process.geteuid?.();
  if (user === 0) return true;
  if (user === uid) return ((mode >> 6) & bits) === bits;
  const isInGroup = groups().includes(gid);
  return ((isInGroup ? mode >> 3 : mode) & bits) === bits;
}

function groups(): number[] {
  return [...new Set([process.getegid?.() ?? -1, ...(process.getgroups?.() ?? [])])];
}

function ownershipOf({ mode, uid, gid }: Stats): Ownership {
  return {
    mode: (mode & 0o7777).toString(8).padStart(4, '0'),
    owner: uid,
    group: gid,
    uid: process.geteuid?.() ?? -1,
    gids: groups(),
  };
}
