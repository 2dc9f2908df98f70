import { binding } from '../core/binding.ts';
import { fs } from '../core/builtins.ts';
import { check } from '../core/call.ts';
import { EAGAIN } from '../core/errno.ts';
import { explained, VfioError } from '../core/errors.ts';
import type { SysfsDevice } from '../core/location.ts';
import { pause, type Steps } from '../core/steps.ts';
import { driverLeft } from '../locate/driver_override.ts';
import { attempt, listNames, readAttribute, undefinedIfMissing } from '../locate/sysfs.ts';
import { nodesWithFunctions, whoHolds } from './device_holders.ts';
import type { HostRoots } from './host_roots.ts';

/** Locks of devices: whoever has them alone changes their drivers. */
export interface DeviceLocks {
  /** The descriptors that hold them. A process that inherits one keeps its lock, too. */
  numbers: number[];
}

/** Milliseconds between two looks at a lock that another has. */
const betweenLooks = 20;

/**
 * Does a task while it has the locks of these devices. The kernel takes a lock back when the last
 * process that has it is gone, killed or not, and so no lock is ever left over: not even where the
 * writing process of a killed program still waits in the kernel (flock(2)).
 *
 * @param timeout - milliseconds for which another program is waited for
 * @throws VfioError `ERR_VFIO_BUSY` with the reason `binding-elsewhere`
 */
export function* withLocks<T>(
  devices: readonly SysfsDevice[],
  roots: HostRoots,
  timeout: number,
  task: (locks: DeviceLocks) => Steps<T>,
): Steps<T> {
  const locks: DeviceLocks = { numbers: [] };
  const deadline = performance.now() + timeout;
  // In the same order everywhere: two programs never wait for each other.
  const sorted = devices.toSorted((a, b) => (lockPath(a, roots) < lockPath(b, roots) ? -1 : 1));
  try {
    for (const device of sorted) locks.numbers.push(yield* lock(device, roots, deadline));
    return yield* task(locks);
  } finally {
    for (const number of locks.numbers) fs.closeSync(number);
  }
}

function lockPath({ bus, address }: SysfsDevice, { runRoot }: Pick<HostRoots, 'runRoot'>): string {
  return `${runRoot}/bind/${bus}-${address}.lock`;
}

function* lock(device: SysfsDevice, roots: HostRoots, deadline: number): Steps<number> {
  const path = lockPath(device, roots);
  const number = openLock(path, roots);
  try {
    for (;;) {
      const answer = binding().flock(number);
      if (answer !== EAGAIN) {
        check(answer, { syscall: 'flock', path });
        break;
      }
      if (performance.now() >= deadline) throw yield* elsewhere(device, path);
      yield* pause(betweenLooks);
    }
    const nodes = nodesWithFunctions(device, roots.sysfsRoot);
    fs.ftruncateSync(number);
    fs.writeSync(number, `${[process.pid, ...nodes].join('\n')}\n`, 0);
    return number;
  } catch (error) {
    fs.closeSync(number);
    throw error;
  }
}

function openLock(path: string, { runRoot }: HostRoots): number {
  const { O_RDWR, O_CREAT, O_NOFOLLOW } = fs.constants;
  const folder = `${runRoot}/bind`;
  inRun('mkdir', folder, () => fs.mkdirSync(folder, { recursive: true, mode: 0o755 }));
  for (const each of [runRoot, folder]) requireNoLink(each);
  return inRun('open', path, () => fs.openSync(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0o644));
}

/** A link would have root write wherever who made it wants. */
function requireNoLink(path: string): void {
  if (!inRun('lstat', path, () => fs.lstatSync(path)).isSymbolicLink()) return;
  throw new VfioError({
    ...{ code: 'ENOTDIR', path, syscall: 'lstat' },
    message: `${path} is a symbolic link, which is not followed: what a device had before is remembered in a folder of root's`,
    hint: `see where it leads (ls -ld ${path}), and remove it: sudo rm ${path}. The folder is made anew`,
  });
}

/** Does what makes something where the changes of drivers are remembered. */
function inRun<T>(syscall: string, path: string, act: () => T): T {
  try {
    return attempt(syscall, path, act);
  } catch (error) {
    if (!(error instanceof VfioError)) throw error;
    const { code, message, errno } = error;
    throw new VfioError({ ...{ code, message, errno, syscall, path }, hint: hintOf(code, path) });
  }
}

function hintOf(code: VfioError['code'], path: string): string {
  return (code === 'EACCES' || code === 'EPERM') && process.geteuid?.() !== 0
    ? 'changing the driver of a device takes root: sudo npx vfio …'
    : `what a device had before is remembered in ${path.replace(/\/[^/]+\.lock$/, '')} before anything is changed, and nothing was: have that folder made, and writable, or name another: { runRoot }`;
}

/** What whoever has the lock of a device wrote when it was got. */
interface LockNote {
  pid: number | null;
  /** `major:minor` of the nodes by which the device was to be opened, its virtual functions' too. */
  nodes: string[];
}

/**
 * The nodes that a device had when somebody got its lock who, or whose writing process, has it still.
 * While the device is being taken from its driver sysfs shows them no more.
 */
export function lockedNodes(device: SysfsDevice, roots: Pick<HostRoots, 'runRoot'>): string[] {
  const path = lockPath(device, roots);
  const number = undefinedIfMissing('open', path, () => fs.openSync(path, 'r'));
  if (number === undefined) return [];
  try {
    return binding().flock(number) === EAGAIN ? noteIn(path).nodes : [];
  } finally {
    fs.closeSync(number);
  }
}

function noteIn(path: string): LockNote {
  const [first, ...nodes] = (readAttribute(path) ?? '').split('\n');
  const said = Number(first);
  const pid = Number.isInteger(said) && said > 0 ? said : null;
  return { pid, nodes: nodes.filter((each) => /^\d+:\d+$/.test(each)) };
}

/** Who wrote its number may be gone, and only what it began still wait in the kernel. */
function* elsewhere(device: SysfsDevice, path: string): Steps<VfioError> {
  const { address } = device;
  const { pid, nodes } = noteIn(path);
  const isLeft = driverLeft(device) !== undefined;
  const holding = yield* whoHolds(isLeft ? nodes : []);
  const isThere = pid !== null && listNames(`/proc/${pid}`) !== undefined;
  const error = new VfioError({
    code: 'ERR_VFIO_BUSY',
    message: `the driver of ${address} cannot be changed now`,
    device: address,
    path,
  });
  const facts = { address, path, pid: isThere ? pid : null, ...(isLeft && holding) };
  return explained(error, { reason: 'binding-elsewhere', certainty: 'certain', facts });
}
