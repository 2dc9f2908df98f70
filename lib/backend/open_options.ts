import { channel } from 'node:diagnostics_channel';
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

/**
 * A step of an opening that is done, as the channel `vfio:open` of `node:diagnostics_channel` tells it:
 *
 * - `lookup`: the device's node, or its group's, is found in sysfs
 * - `open`: that is open, and proved by fstat, and the iommufd or the container
 * - `bind`: the device is open in the kernel's sense
 * - `info`: what the kernel says of it was read
 *
 * A step that has several parts, or is tried again while a node is waited for, is told again.
 */
export interface OpenStep {
  step: 'lookup' | 'open' | 'bind' | 'info';
  /** The device's address. */
  device: string | undefined;
}

const openings = channel('vfio:open');

/** Tells that a step is done, where anybody listens; otherwise this costs the look whether one does. */
export function tellStep(step: OpenStep['step'], device: string | undefined): void {
  if (openings.hasSubscribers) openings.publish({ step, device } satisfies OpenStep);
}
