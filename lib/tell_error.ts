import type { EventEmitter } from 'node:events';
import { processWarning } from './process_warning.ts';

/**
 * Emits `error` where somebody listens, and warns otherwise: an emitter without a listener would throw, and
 * end a program for what happened in the background.
 */
export function tellError(emitter: EventEmitter, error: Error, code: `VFIO_${string}`): void {
  if (emitter.listenerCount('error') > 0) emitter.emit('error', error);
  else processWarning(error.message, code);
}
