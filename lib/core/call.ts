import type { Answer, Binding } from './binding.ts';
import { EBADF, EMFILE, ENFILE, EOPNOTSUPP } from './errno.ts';
import { explained, type FailedCall, systemError } from './errors.ts';
import type { NodeLocation } from './location.ts';

/** What was called, for the error's sake. */
export type CallName = Omit<FailedCall, 'errno'>;

/**
 * The value that a native function answered; throws where the kernel, or the addon, refused.
 * `request` names the ioctl where `call` does not.
 */
export function check(answer: Answer, call: CallName, request?: string): number {
  if (answer !== undefined && answer >= 0) return answer;
  const named = request === undefined ? call : { ...call, request };
  if (answer !== undefined) throw systemError({ ...named, errno: answer });
  const what = named.request ?? named.syscall;
  throw new Error(`vfio: the addon refused the arguments of ${what}; please report this bug`);
}

/** The addon's functions that make several system calls, and say which of them failed. */
export type SteppedName = Extract<
  keyof Binding,
  | 'memoryAllocate'
  | 'memoryFromFile'
  | 'socketListen'
  | 'socketConnect'
  | 'ueventOpen'
  | 'waitForChangeSync'
>;

/**
 * Their system calls, in their order. Such a function answers -(errno + 4096 * step) of the one
 * that failed: the kernel's errnos are below 4096.
 */
export const systemCalls: Readonly<Record<SteppedName, readonly [string, ...string[]]>> = {
  memoryAllocate: ['memfd_create', 'ftruncate', 'fcntl', 'mmap', 'madvise'],
  memoryFromFile: ['fcntl', 'fstatfs', 'mmap'],
  socketListen: ['socket', 'fchmod', 'bind', 'fchmodat', 'listen'],
  socketConnect: ['socket', 'connect'],
  ueventOpen: ['socket', 'setsockopt', 'bind'],
  waitForChangeSync: ['poll', 'read'],
};

const stepSize = 4096;

/** The -errno that such a function failed with, and of which system call it is. */
export function failedStep(
  answer: number,
  name: SteppedName,
): Pick<FailedCall, 'errno' | 'syscall'> {
  const syscalls = systemCalls[name];
  const syscall = syscalls[Math.floor(-answer / stepSize)];
  // No step: there was no thread that could have begun with the first.
  if (syscall === undefined) return { errno: answer, syscall: syscalls[0] };
  return { errno: errnoOfSteps(answer), syscall };
}

/** What such a function answers, without the step that failed: the value, or -errno. */
export function errnoOfSteps(answer: number): number {
  return answer >= 0 ? answer : -(-answer % stepSize);
}

/** Like {@link check}, for such a function: the error names the system call which failed. */
export function checkSteps(
  answer: Answer,
  name: SteppedName,
  call: Omit<CallName, 'syscall'> = {},
): number {
  const { errno, syscall } = failedStep(answer ?? 0, name);
  if (answer === undefined || answer >= 0) return check(answer, { ...call, syscall });
  return check(errno, { ...call, syscall });
}

/** The addon's `close` closes two in one call, and answers -(errno + 4096 * errno of the second). */
export function closeErrnos(answer: number): [first: number, second: number] {
  return [answer % stepSize, Math.trunc(answer / stepSize)];
}

/**
 * Whether a call failed for want of a descriptor: EBADF, ENFILE, EMFILE. Where it duplicates one
 * first, it is that which failed.
 */
export function isOfDescriptors(answer: bigint | Answer): boolean {
  return answer === EBADF || answer === ENFILE || answer === EMFILE;
}

/** Like {@link check}, for a function whose value is a BigInt. */
export function checkBig(answer: bigint | Answer, call: CallName): bigint {
  if (typeof answer === 'bigint') return answer;
  check(answer, call);
  throw new Error(`vfio: ${call.request ?? call.syscall} answered ${answer}, not a BigInt`);
}

/** Like {@link check}, for a function that answers a list where it does not fail. */
export function checkList<List extends object>(answer: List | Answer, call: CallName): List {
  if (typeof answer === 'object') return answer;
  check(answer, call);
  throw new Error(`vfio: ${call.syscall} answered ${answer}, not a list; please report this bug`);
}

/** How an ioctl on a device is called in errors. */
export function ioctlOf({ path, device }: NodeLocation, request?: string): CallName {
  return { syscall: 'ioctl', request, path, device: device.address };
}

/** The ArrayBuffer over memory of ours that the addon made. @throws VfioError `ENOTSUP` */
export function checkBuffer(
  answer: ArrayBuffer | Answer,
  call: Omit<CallName, 'syscall'> = {},
): ArrayBuffer {
  if (typeof answer === 'object') return answer;
  const named = { syscall: 'napi_create_external_arraybuffer', ...call };
  if (answer !== EOPNOTSUPP) {
    check(answer, named);
    throw new Error(`vfio: ${named.syscall} answered ${answer}; please report this bug`);
  }
  const { electron } = process.versions;
  const runtime =
    electron === undefined ? `this runtime (Node ${process.version})` : `Electron ${electron}`;
  const error = systemError({ ...named, errno: answer });
  const facts = { runtime };
  throw explained(error, { reason: 'no-external-buffers', certainty: 'certain', facts });
}
