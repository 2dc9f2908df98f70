import type { EventEmitter } from 'node:events';
import type { Answer } from './binding.ts';
import { type CallName, check } from './call.ts';
import { escapeControls } from './controls.ts';

/**
 * Finishes what a finalizer began. Nobody can catch its error, and a program must not end of it: it
 * is a warning of the process.
 */
export function warnIfFailed(done: Promise<Answer> | undefined, call: CallName): void {
  void done?.then((answer) => check(answer, call)).catch(warn);
}

/** Like {@link warnIfFailed}, for a call that was made here and now. */
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

/**
 * A warning of the process that has a `VFIO_…` code. Names of others are in it, so no terminal
 * obeys it.
 */
export function processWarning(message: string, code: `VFIO_${string}`): void {
  process.emitWarning(escapeControls(message), { type: 'VfioWarning', code });
}

/**
 * Emits `error` where somebody listens, and warns otherwise: an emitter without a listener would
 * throw, and end a program for what happened in the background.
 */
export function tellError(emitter: EventEmitter, error: Error, code: `VFIO_${string}`): void {
  if (emitter.listenerCount('error') > 0) emitter.emit('error', error);
  else processWarning(error.message, code);
}
