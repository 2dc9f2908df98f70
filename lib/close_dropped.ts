import type { Answer } from './binding.ts';
import { check, type CallName } from './call.ts';
import { processWarning } from './process_warning.ts';

/**
 * Finishes what a finalizer began. Nobody can catch its error, and a program must not end of it: it is a
 * warning of the process.
 */
export function warnIfFailed(done: Promise<Answer> | undefined, call: CallName): void {
  void done?.then((answer) => check(answer, call)).catch(warn);
}

/** As {@link warnIfFailed}, of what was done here and now. */
export function warnIfFailedSync(answer: Answer, call: CallName): void {
  try {
    check(answer, call);
  } catch (error) {
    warn(error);
  }
}

/** @param error - of closing what its owner forgot, or what nobody waits for */
export function warn(error: unknown): void {
  const { message } = error as Error;
  processWarning(`closing what was dropped failed: ${message}`, 'VFIO_CLOSE_FAILED');
}
