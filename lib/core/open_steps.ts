import { channel } from 'node:diagnostics_channel';

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
  /** What begins: looking it up in sysfs, opening the node, binding it, asking for its infos. */
  step: 'lookup' | 'open' | 'bind' | 'info';
  /** The device's address. */
  device: string | undefined;
}

const openings = channel('vfio:open');

/**
 * Tells that a step is done, where anybody listens; otherwise this costs the look whether one does.
 */
export function tellStep(step: OpenStep['step'], device: string | undefined): void {
  if (openings.hasSubscribers) openings.publish({ step, device } satisfies OpenStep);
}
