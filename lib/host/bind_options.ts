import {
  checkTimeout,
  invalidType,
  invalidValue,
  requireBoolean,
  requireObject,
} from '../core/arguments.ts';
import type { DeviceSpec } from '../core/location.ts';
import { parseSpec } from '../locate/resolve.ts';
import { checkDriver } from './driver_choice.ts';
import { type HostRootOptions, type HostRoots, hostRootsOf } from './host_roots.ts';

/** How to give devices back to the drivers that they had. */
export interface RestoreDriverOptions extends HostRootOptions {
  /** Every device of the IOMMU group of each, bridges aside. */
  group?: boolean | undefined;
  /** Change nothing; the report says what would be. */
  dryRun?: boolean | undefined;
  /** Of {@link bindDriver}: at every start as well. Of {@link restoreDriver}: no more. */
  persist?: boolean | undefined;
  /**
   * Also what the host needs, or a program has open; a bridge nevertheless not. Also to a `driver`
   * that is not made for the device, with which **the kernel may crash**.
   */
  force?: boolean | undefined;
  /**
   * Milliseconds for which the kernel is waited for at each device, and another program that
   * changes the same device; 10,000 unless told otherwise.
   */
  timeout?: number | undefined;
}

/** How to give devices to a driver. */
export interface BindDriverOptions extends RestoreDriverOptions {
  /**
   * The driver. Without it VFIO's own for the bus; on PCI the variant for this model, where the
   * kernel has one. Another than VFIO's must be made for the device, by its module's aliases, unless
   * it is the one that is remembered of it.
   */
  driver?: string | undefined;
}

/** The options with all filled in. */
export interface Plan {
  specs: DeviceSpec[];
  roots: HostRoots;
  driver: string | undefined;
  group: boolean;
  dryRun: boolean;
  persist: boolean;
  force: boolean;
  timeout: number;
}

const usualTimeout = 10_000;

/** @throws TypeError, RangeError for what cannot be right */
export function planOf(
  specs: DeviceSpec | readonly DeviceSpec[],
  options: BindDriverOptions,
): Plan {
  requireObject('options', options);
  const { driver, timeout = usualTimeout } = options;
  const { group = false, dryRun = false, persist = false, force = false } = options;
  const roots = hostRootsOf(options);
  for (const [name, value] of Object.entries({ group, dryRun, persist, force }))
    requireBoolean(name, value);
  checkDriver(driver);
  checkTimeout(timeout);
  const all = Array.isArray(specs) ? [...(specs as DeviceSpec[])] : [specs as DeviceSpec];
  if (all.length === 0) throw invalidValue('device', 'one device or more', specs);
  for (const spec of all) {
    if (Array.isArray(spec)) throw invalidType('device', 'what names one device', spec);
    parseSpec(spec, roots);
  }
  return { specs: all, roots, driver, group, dryRun, persist, force, timeout };
}
