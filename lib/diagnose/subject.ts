import { orUndefined } from '../core/errors.ts';
import type { DeviceSpec, NodeLocation, Roots, SysfsDevice } from '../core/location.ts';
import type { Cause, Holding } from '../core/reasons.ts';
import { findCdev, locateDevice } from '../locate/find_cdev.ts';
import type { Search } from './holders.ts';

/** What could not be opened, as far as it is known. */
export interface Subject {
  roots: Roots;
  device?: SysfsDevice | undefined;
  /** Its node in sysfs: that of its cdev, or of its group. */
  node?: NodeLocation | undefined;
  /** The descriptor of ours that was refused: it holds nothing. */
  own?: number | undefined;
}

/** The subject that `spec` names, looked up again: what is not found (any more) stays open. */
export function subjectOf(
  spec: DeviceSpec,
  roots: Roots,
  find: (spec: DeviceSpec, roots: Roots) => NodeLocation = findCdev,
): Subject {
  // The lookup failed before, and its error is the one that is being explained.
  const node = orUndefined(() => find(spec, roots));
  const device = node?.device ?? orUndefined(() => locateDevice(spec, roots));
  return { roots, device, node };
}

/** What a failure seems to come from, and what would tell more. */
export interface Suspicion {
  /** What is said where nobody looks further. */
  cause: Cause;
  /** Whose descriptors to look for. */
  search?: Search | undefined;
  /** What is said once they were looked for. */
  settle?: ((found: Holding) => Cause) | undefined;
  /** What to look for where nobody was found, by a search that came to its end. */
  otherwise?: Suspicion;
}
