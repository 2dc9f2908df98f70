import { fs } from '../core/builtins.ts';
import { VfioError } from '../core/errors.ts';
import type { Roots } from '../core/location.ts';
import { printable } from '../core/printable.ts';
import type { Steps } from '../core/steps.ts';
import { undefinedIfMissing } from '../locate/sysfs.ts';

/** What a finding is about. The ids are stable; docs/operators.md says what each one tells. */
export type FindingId =
  | 'iommu'
  | 'interrupt-remapping'
  | 'unsafe-interrupts'
  | 'iommufd'
  | 'container'
  | 'cdevs'
  | 'groups'
  | 'noiommu-mode'
  | 'modules'
  | 'module-parameters'
  | 'devices'
  | 'memlock'
  | 'huge-pages'
  | 'lockdown'
  | 'namespaces'
  | 'device-cgroup'
  | 'device'
  | 'driver'
  | 'driver-override'
  | 'driver-before'
  | 'group'
  | 'cdev-node'
  | 'group-node'
  | 'access'
  | 'sriov'
  | 'holders';

/**
 * `ok`; `warning`: it works, or may, and somebody should know; `bad`: the device, or every device,
 * cannot be opened as it is; `unknown`: it could not be looked at, which says nothing of how it is.
 */
export type FindingStatus = 'ok' | 'warning' | 'bad' | 'unknown';

/** One thing that was looked at. */
export interface Finding {
  /** What was looked at. */
  id: FindingId;
  /** What it is of: `host`, a device's address, or the path of a node. */
  subject: string;
  /** How it is. */
  status: FindingStatus;
  /** What was seen: one line, in which control characters of others' text are escaped. */
  what: string;
  /** What mends it, or what to do to learn more. */
  mend?: string;
}

/** Where is looked. */
export interface Place {
  roots: Roots;
  /** `/proc`, or a test's. */
  procRoot: string;
  /** `/run/vfio`, or a test's. */
  runRoot: string;
}

/** The subject of what is of no device. */
export const host = 'host';

/** A status, what was seen, and what mends it. */
export type Seen = readonly [status: FindingStatus, what: string, mend?: string | undefined];

export function finding(id: FindingId, subject: string, [status, what, mend]: Seen): Finding {
  const seen = { id, subject, status, what: printable(what) };
  return mend === undefined ? seen : { ...seen, mend: printable(mend) };
}

/** Looks at one thing; what cannot be read is unknown, and keeps nobody from the rest. */
export function look(id: FindingId, subject: string, see: () => Seen | undefined): Finding[] {
  try {
    const seen = see();
    return seen ? [finding(id, subject, seen)] : [];
  } catch (error) {
    return [unread(id, subject, error)];
  }
}

/** As {@link look}, for what takes several calls. */
export function* lookBySteps(
  id: FindingId,
  subject: string,
  see: () => Steps<Seen | undefined>,
): Steps<Finding[]> {
  try {
    const seen = yield* see();
    return seen ? [finding(id, subject, seen)] : [];
  } catch (error) {
    return [unread(id, subject, error)];
  }
}

function unread(id: FindingId, subject: string, error: unknown): Finding {
  if (!(error instanceof VfioError)) throw error;
  return finding(id, subject, ['unknown', `it could not be looked at: ${error.message}`]);
}

/**
 * A file of /proc, which may be longer than what the addon reads at once; undefined where it is not
 * there.
 */
export function readProc({ procRoot }: Place, name: string): string | undefined {
  const path = `${procRoot}/${name}`;
  return undefinedIfMissing('open', path, () => fs.readFileSync(path, 'utf8'));
}

/** What is said of a file of /proc that every kernel has. */
export function noProc({ procRoot }: Place, name: string): Seen {
  return ['unknown', `${procRoot}/${name} is not there: proc is not mounted, or is hidden`];
}

/** A command that loads a module: it does so where the running kernel's modules are. */
export function whereModulesAre(mend: string): string {
  const { release } = process.getBuiltinModule('node:os');
  const isHere = fs.existsSync(`/lib/modules/${release()}/modules.dep`);
  return isHere ? mend : `on the host, since the kernel's modules are not here: ${mend}`;
}
