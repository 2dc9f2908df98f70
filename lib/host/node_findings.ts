import type { BigIntStats } from 'node:fs';
import { fs } from '../core/builtins.ts';
import { EACCES, ENOENT } from '../core/errno.ts';
import { systemError, VfioError } from '../core/errors.ts';
import { hiddenText, wordsOf } from '../core/messages.ts';
import type { Cause } from '../core/reasons.ts';
import { nodeCause } from '../diagnose/node_causes.ts';
import type { Subject } from '../diagnose/subject.ts';
import { numbersOf } from '../locate/resolve.ts';
import {
  hiddenMisc,
  isSystemError,
  miscNumbers,
  type MiscName,
  undefinedIfMissing,
} from '../locate/sysfs.ts';
import {
  type Finding,
  type FindingStatus,
  look,
  type Place,
  type Seen,
  whereModulesAre,
} from './finding.ts';

/** The nodes that belong to no device: that of iommufd, and that of containers of groups. */
export function sharedNodeFindings(place: Place): Finding[] {
  const { roots } = place;
  const found = [
    ...miscNode('iommufd', 'iommu', `${roots.devRoot}/iommu`, place),
    ...miscNode('container', 'vfio', `${roots.devRoot}/vfio/vfio`, place),
  ];
  // One of them is enough to open a device by.
  const usable = found.filter(({ id, status }) => id === 'access' && status === 'ok').length > 0;
  const soften = ({ status, ...rest }: Finding): Finding => ({
    ...rest,
    status: status === 'bad' && usable ? 'warning' : status,
  });
  return found.map(soften);
}

function miscNode(
  id: 'iommufd' | 'container',
  name: MiscName,
  path: string,
  place: Place,
): Finding[] {
  const seen = look(id, path, () => miscSeen(name, path, place));
  const isThere = seen[0]?.status === 'ok';
  return isThere ? [...seen, ...accessFindings(path, place)] : seen;
}

/** Neither is needed where there is the other, so that one that is absent is a warning. */
function miscSeen(name: MiscName, path: string, { roots }: Place): Seen {
  const expected = miscNumbers(name, roots.sysfsRoot);
  const node = nodeAt(path, { roots });
  if ('shut' in node) return node.shut;
  const found = node.numbers;
  if (expected !== undefined) return compare(path, expected, found);
  const hidden = hiddenMisc(roots);
  if (hidden) {
    const there = found === undefined ? `there is no ${path}` : `${path} is there`;
    return ['unknown', `${there}; what the kernel has is not to be seen: ${hiddenText(hidden)}`];
  }
  if (found !== undefined) {
    const module = name === 'iommu' ? 'iommufd' : 'vfio';
    const what = `${path} is there, and its module ${module} is not loaded`;
    return ['warning', what, whereModulesAre(`sudo modprobe ${module}`)];
  }
  const cause = nodeCause(systemError({ errno: ENOENT, syscall: 'open', path }), { roots });
  if (cause === undefined) return ['warning', `there is no ${path}`];
  const { why, hint } = wordsOf(cause);
  const mend = hint.startsWith('sudo modprobe') ? whereModulesAre(hint) : hint;
  return ['warning', `there is no ${path}: ${why}`, mend];
}

/** Whether a node is there and has the numbers that sysfs has for it. */
export function compare(path: string, expected: string, found: string | null | undefined): Seen {
  if (found === expected) return ['ok', `${path} is ${expected}, as in sysfs`];
  const cause: Cause =
    found === undefined
      ? { reason: 'node-absent', certainty: 'certain', facts: { path, numbers: expected } }
      : { reason: 'stale-node', certainty: 'certain', facts: { path, expected, found } };
  const { why, hint } = wordsOf(cause);
  const is = found === undefined ? 'is not there' : `is ${found ?? 'no character device'}`;
  return ['bad', `${path} ${is}, and should be ${expected}: ${why}`, hint];
}

/** What a path leads to, by one look at it. */
export type NodeSeen =
  /** `major:minor`; null for what is no character device, undefined where there is nothing. */
  | { numbers: string | null | undefined }
  /** A folder on the way lets this user not. */
  | { shut: Seen };

export function nodeAt(path: string, { roots }: Pick<Place, 'roots'>): NodeSeen {
  try {
    const stat = undefinedIfMissing('stat', path, () => fs.statSync(path, { bigint: true }));
    if (stat === undefined) return { numbers: undefined };
    return { numbers: stat.isCharacterDevice() ? numbersOf(stat) : null };
  } catch (error) {
    if (!(error instanceof VfioError) || error.errno !== EACCES) throw error;
    const cause = nodeCause(error, { roots });
    if (cause?.reason !== 'no-permission') throw error;
    const { why, hint } = wordsOf(cause);
    return { shut: ['bad', `this user may not reach ${path}: ${why}`, hint] };
  }
}

/** Whether this user may open a node, as far as the file system decides it. */
export function accessFindings(path: string, { roots }: Place): Finding[] {
  return look('access', path, () => accessSeen(path, { roots }));
}

function accessSeen(path: string, subject: Subject): Seen {
  const stat = undefinedIfMissing('stat', path, () => fs.statSync(path, { bigint: true }));
  if (stat === undefined) return ['unknown', `${path} went away`];
  const rights = rightsText(stat);
  const { R_OK, W_OK } = fs.constants;
  try {
    fs.accessSync(path, R_OK | W_OK);
  } catch (error) {
    if (!isSystemError(error)) throw error;
    return refused(path, error.errno, rights, subject);
  }
  const ids = process.geteuid?.() === process.getuid?.();
  // access(2) asks for the real user, opening for the effective one.
  const status: FindingStatus = ids ? 'ok' : 'unknown';
  return [
    status,
    `the file system lets this user read and write it (${rights}); a device cgroup or a security module may still refuse`,
  ];
}

function refused(path: string, errno: number, rights: string, subject: Subject): Seen {
  const error = systemError({ errno, syscall: 'access', path });
  if (errno !== EACCES) return ['unknown', `${error.message} (${rights})`];
  const cause = nodeCause(error, subject);
  if (cause === undefined) return ['bad', `this user may not read and write it (${rights})`];
  const { why, hint } = wordsOf(cause);
  return ['bad', `this user may not read and write it: ${why}`, hint];
}

function rightsText({ mode, uid, gid }: BigIntStats): string {
  const bits = (mode & 0o7777n).toString(8).padStart(4, '0');
  return `mode ${bits}, user ${uid}, group ${gid}`;
}
