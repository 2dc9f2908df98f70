import type { Stats } from 'node:fs';
import { basename, dirname } from 'node:path';
import { fs } from '../core/builtins.ts';
import type { VfioError } from '../core/errors.ts';
import type { Roots } from '../core/location.ts';
import type { Hidden } from '../core/messages.ts';
import type { Cause, Ownership } from '../core/reasons.ts';
import { isCdevName } from '../locate/path.ts';
import { numbersOf } from '../locate/resolve.ts';
import {
  hiddenClasses,
  hiddenMisc,
  hiddenNumbers,
  miscNumbers,
  readAttribute,
  readLinkName,
  undefinedIfMissing,
} from '../locate/sysfs.ts';
import { noRawioCause } from './bind_causes.ts';
import { sysfsAbsent } from './device_causes.ts';
import type { Subject } from './subject.ts';

/** Why a node could not be opened, or is not the one that sysfs names. */
export function nodeCause({ code, path = '' }: VfioError, subject: Subject): Cause | undefined {
  switch (code) {
    case 'ENOENT':
      return absentCause(path, subject);
    case 'EACCES':
      return permissionCause(path);
    case 'EPERM':
      return noRawioCause(path) ?? cgroupCause(path);
    case 'ENXIO':
    case 'ERR_VFIO_NODE_MISMATCH':
      return staleNode(path, subject);
    default:
      return undefined;
  }
}

/** A node is not there: has the kernel what it is for? */
function absentCause(path: string, subject: Subject): Cause | undefined {
  const { roots } = subject;
  const numbers = numbersFor(path, subject);
  if (numbers !== undefined) return absent(path, numbers);
  const kind = kindOf(path, roots);
  if (kind === undefined) return undefined;
  const hidden = sysfsAbsent(hiddenNames(path, roots));
  if (hidden) return hidden;
  const release = process.getBuiltinModule('node:os').release();
  if (kind === 'iommufd') return noIommufd(release);
  if (kind === 'container') {
    return { reason: 'container-absent', certainty: 'likely', facts: { path, release } };
  }
  return kind === 'cdev'
    ? { reason: 'no-such-cdev', certainty: 'certain', facts: { path } }
    : undefined;
}

/** What a node is for, by its name. */
function kindOf(
  path: string,
  { devRoot }: Roots,
): 'iommufd' | 'container' | 'group' | 'cdev' | undefined {
  if (!path.startsWith(`${devRoot}/`)) return undefined;
  const below = path.slice(devRoot.length + 1);
  if (below === 'iommu') return 'iommufd';
  if (below === 'vfio/vfio') return 'container';
  if (/^vfio\/(?:noiommu-)?\d+$/.test(below)) return 'group';
  return /^vfio\/devices\/[^/]+$/.test(below) && isCdevName(basename(below)) ? 'cdev' : undefined;
}

/** What would tell the numbers of a node of this name, and is hidden. */
function hiddenNames(path: string, roots: Roots): Hidden | undefined {
  const kind = kindOf(path, roots);
  return kind === 'iommufd' || kind === 'container' ? hiddenMisc(roots) : hiddenClasses(roots);
}

/**
 * The numbers that sysfs has for a node of this name; undefined where it has none, or is hidden.
 */
function numbersFor(path: string, { roots }: Subject): string | undefined {
  const { sysfsRoot } = roots;
  const name = basename(path);
  switch (kindOf(path, roots)) {
    case 'iommufd':
      return miscNumbers('iommu', sysfsRoot);
    case 'container':
      return miscNumbers('vfio', sysfsRoot);
    case 'group':
      return readAttribute(`${sysfsRoot}/class/vfio/${name}/dev`);
    case 'cdev':
      return readAttribute(`${sysfsRoot}/class/vfio-dev/${name}/dev`);
    case undefined:
      return undefined;
  }
}

/** Why the kernel has no iommufd, where sysfs shows none. */
export function noIommufd(release: string): Cause {
  // depmod's list has every module there is, wherever it lies.
  const modules = `/lib/modules/${release}/modules.dep`;
  const text = undefinedIfMissing('open', modules, () => fs.readFileSync(modules, 'utf8'));
  if (text === undefined) {
    return { reason: 'iommufd-absent', certainty: 'likely', facts: { release, unread: modules } };
  }
  return /\/iommufd\.ko(?:\.\w+)?:/.test(text)
    ? { reason: 'iommufd-not-loaded', certainty: 'certain', facts: { release } }
    : { reason: 'iommufd-absent', certainty: 'likely', facts: { release } };
}

function absent(path: string, numbers: string): Cause {
  return { reason: 'node-absent', certainty: 'certain', facts: { path, numbers } };
}

function cgroupCause(path: string): Cause {
  const facts = { path, numbers: numbersAt(path) ?? '' };
  return { reason: 'device-cgroup', certainty: 'likely', facts };
}

function staleNode(path: string, subject: Subject): Cause | undefined {
  const { node, roots } = subject;
  const hidden = sysfsAbsent(hiddenNumbers(roots));
  if (hidden) return hidden;
  const found = numbersAt(path) ?? null;
  const expected = node ? `${node.major}:${node.minor}` : (numbersFor(path, subject) ?? null);
  const unknown = expected === null ? sysfsAbsent(hiddenNames(path, roots)) : undefined;
  if (unknown) return unknown;
  // A node that the kernel has right now is refused for another reason.
  if (found !== null && found === expected && isInSysfs(roots.sysfsRoot, found)) return undefined;
  return { reason: 'stale-node', certainty: 'certain', facts: { path, expected, found } };
}

function isInSysfs(sysfsRoot: string, numbers: string): boolean {
  return readLinkName(`${sysfsRoot}/dev/char/${numbers}`) !== undefined;
}

/** `major:minor` of what a path leads to; undefined for what is no character device. */
function numbersAt(path: string): string | undefined {
  const stat = undefinedIfMissing('stat', path, () => fs.statSync(path, { bigint: true }));
  return stat?.isCharacterDevice() === true ? numbersOf(stat) : undefined;
}

/** Why opening a file answered EACCES: the first of its folders, or the file, that shuts us out. */
function permissionCause(path: string): Cause {
  for (const folder of foldersTo(path)) {
    const stat = fs.statSync(folder);
    if (!grants(stat, 0o1)) return noPermission(folder, stat, { isFolder: true });
  }
  const stat = fs.statSync(path);
  if (!grants(stat, 0o6)) return noPermission(path, stat);
  const facts = { path, ...ownershipOf(stat) };
  return { reason: 'denied-by-policy', certainty: 'likely', facts };
}

function noPermission(path: string, stat: Stats, more: { isFolder?: true } = {}): Cause {
  const facts = { path, ...more, ...ownershipOf(stat) };
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
