// Whether what came of a scenario tells of the call that failed in it.
import { messageOf } from '../../lib/core/errors.ts';
import type { FailingCall } from './calls.ts';
import { requestNames } from './requests.ts';
import type { Failed, Fault } from './shim.ts';

/** An error, and all that it holds. */
function leavesOf(error: unknown): object[] {
  if (typeof error !== 'object' || error === null) return [];
  // As AggregateError and SuppressedError have them.
  const { errors = [], error: inner, suppressed, cause } = error as Record<string, unknown>;
  const held = [...(errors as unknown[]), inner, suppressed, cause];
  return [error, ...held.flatMap(leavesOf)];
}

/** Why an error does not tell of what failed; undefined where it does. */
export function whyUntold(error: unknown, fault: Fault, failed: Failed): string | undefined {
  const leaves = leavesOf(error);
  if (leaves.some((leaf) => tells(leaf, fault, failed))) return undefined;
  const said = leaves.map((leaf) => messageOf(leaf)).join(' / ');
  return `says ${said}`;
}

const inWords: readonly string[] = ['ENOTTY', 'EINVAL'];

function tells(leaf: object, { call, errno }: Fault, failed: Failed): boolean {
  const { code, message = '', syscall, request } = leaf as Record<string, string | undefined>;
  if (call.symbol === 'pthread_create') {
    return message.startsWith('there is no thread for ') && message.includes(`${errno}:`);
  }
  // The kernel's word that it does not know a request, or not in this state, is told in words.
  if (call.symbol === 'ioctl' && inWords.includes(errno) && code?.startsWith('ERR_VFIO_'))
    return true;
  if (code !== errno && !message.includes(`${errno}: `)) return false;
  const wanted = namesOf(call, failed);
  if (wanted.length === 0) return true;
  return wanted.some((name) => syscall === name || request === name || message.includes(name));
}

/** How the call may be named: an ioctl by its request. */
function namesOf({ symbol, named }: FailingCall, { argument }: Failed): readonly string[] {
  if (symbol !== 'ioctl') return named;
  return requestNames.get(argument) ?? ['ioctl'];
}
