import { binding } from '../core/binding.ts';
import { fs } from '../core/builtins.ts';
import { check } from '../core/call.ts';
import { EAGAIN } from '../core/errno.ts';
import { explained, systemError, VfioError } from '../core/errors.ts';
import type { SysfsDevice } from '../core/location.ts';
import { pause, type Steps } from '../core/steps.ts';
import { isSystemError, readAttribute } from '../locate/sysfs.ts';
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

function lockPath({ bus, address }: SysfsDevice, { runRoot }: HostRoots): string {
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
      if (performance.now() >= deadline) throw elsewhere(device, path);
      yield* pause(betweenLooks);
    }
    fs.ftruncateSync(number);
    fs.writeSync(number, `${process.pid}\n`, 0);
    return number;
  } catch (error) {
    fs.closeSync(number);
    throw error;
  }
}

function openLock(path: string, { runRoot }: HostRoots): number {
  const { O_RDWR, O_CREAT, O_NOFOLLOW } = fs.constants;
  try {
    fs.mkdirSync(`${runRoot}/bind`, { recursive: true, mode: 0o755 });
    return fs.openSync(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0o644);
  } catch (error) {
    if (!isSystemError(error)) throw error;
    throw systemError({ errno: error.errno, syscall: 'open', path });
  }
}

function elsewhere({ address }: SysfsDevice, path: string): VfioError {
  const said = Number(readAttribute(path) ?? 0);
  const pid = Number.isInteger(said) && said > 0 ? said : null;
  const error = new VfioError({
    code: 'ERR_VFIO_BUSY',
    message: `the driver of ${address} cannot be changed now`,
    device: address,
    path,
  });
  const facts = { address, path, pid };
  return explained(error, { reason: 'binding-elsewhere', certainty: 'certain', facts });
}
