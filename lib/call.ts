import type { Answer } from './binding.ts';
import { systemError, type FailedCall } from './errors.ts';

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

/**
 * Whether a call failed for want of a descriptor: EBADF, ENFILE, EMFILE. Where it duplicates one first, it is
 * that which failed.
 */
export function isOfDescriptors(answer: bigint | Answer): boolean {
  return answer === -9 || answer === -23 || answer === -24;
}

/** As {@link check}, of a function whose value is a BigInt. */
export function checkBig(answer: bigint | Answer, call: CallName): bigint {
  if (typeof answer === 'bigint') return answer;
  check(answer, call);
  throw new Error(`vfio: ${call.request ?? call.syscall} answered ${answer}, not a BigInt`);
}

/** As {@link check}, of a function that answers a list where it does not fail. */
export function checkList<List extends object>(answer: List | Answer, call: CallName): List {
  if (typeof answer === 'object') return answer;
  check(answer, call);
  throw new Error(`vfio: ${call.syscall} answered ${answer}, not a list; please report this bug`);
}
