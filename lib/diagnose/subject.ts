import { VfioError } from '../errors.ts';
import type { DeviceSpec } from '../locate/address.ts';
import {
  findCdev,
  locateDevice,
  type CdevLocation,
  type SysfsDevice,
} from '../locate/find_cdev.ts';
import type { Roots } from '../locate/roots.ts';

/** What could not be opened, as far as it is known. */
export interface Subject {
  roots: Roots;
  device?: SysfsDevice | undefined;
  cdev?: CdevLocation | undefined;
  /** The descriptor of ours that was refused: it holds nothing. */
  own?: number | undefined;
}

/** The subject that `spec` names, looked up again: what is not found (any more) stays open. */
export function subjectOf(spec: DeviceSpec, roots: Roots): Subject {
  const cdev = orUndefined(() => findCdev(spec, roots));
  const device = cdev?.device ?? orUndefined(() => locateDevice(spec, roots));
  return { roots, device, cdev };
}

/** The lookup failed before, and its error is the one that is being explained. */
function orUndefined<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    if (error instanceof VfioError) return undefined;
    throw error;
  }
}
