import type { CallerPlace } from '../core/caller.ts';
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

/** Who opens: the blocking form has no signal. */
export interface Caller {
  /** Where the program asked for it. */
  place: CallerPlace;
  signal?: AbortSignal | undefined;
}
