import { invalidType, outOfRange } from '../arguments.ts';
import type { RootOptions } from '../locate/roots.ts';

/** How long to wait for a device's node. */
export interface OpenSyncOptions extends RootOptions {
  /**
   * Milliseconds to wait for a node that is missing, may not be opened yet or has other numbers than
   * the device: devtmpfs makes it, and udev gives it its rights a little later. 0 tries once, which
   * is what the blocking functions do unless told otherwise; the others wait 1,000.
   */
  timeout?: number | undefined;
}

/** As {@link OpenSyncOptions}, and a signal to give up. */
export interface OpenOptions extends OpenSyncOptions {
  /** Aborting rejects with the signal's reason, after what was opened is closed again. */
  signal?: AbortSignal | undefined;
}

const mostMilliseconds = 2 ** 31 - 1;

/** @throws TypeError `ERR_INVALID_ARG_TYPE`; RangeError `ERR_OUT_OF_RANGE` */
export function checkTimeout(timeout: unknown): void {
  const expected = `a number of milliseconds from 0 to ${mostMilliseconds}`;
  if (typeof timeout !== 'number') throw invalidType('timeout', expected, timeout);
  if (timeout >= 0 && timeout <= mostMilliseconds) return;
  throw outOfRange('timeout', expected, timeout);
}

/**
 * Takes signals of other realms too (a vm context, jsdom), which are no instances of this one's class:
 * what is asked of a signal is what Node's own functions ask.
 *
 * @throws TypeError `ERR_INVALID_ARG_TYPE`
 */
export function checkSignal(signal: unknown): void {
  if (signal === undefined || isSignal(signal)) return;
  throw invalidType('signal', 'an AbortSignal', signal);
}

function isSignal(signal: unknown): signal is AbortSignal {
  if (typeof signal !== 'object' || signal === null || !('aborted' in signal)) return false;
  const { addEventListener, removeEventListener } = signal as Partial<AbortSignal>;
  return typeof addEventListener === 'function' && typeof removeEventListener === 'function';
}
