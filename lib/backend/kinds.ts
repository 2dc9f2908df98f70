import { invalidType, invalidValue } from '../core/arguments.ts';
import type { CallerPlace } from '../core/caller.ts';
import { explained, VfioError } from '../core/errors.ts';
import type { Backend, BackendKind, NodeLocation, SysfsDevice } from '../core/location.ts';
import { processWarning } from '../core/warnings.ts';
import { isNoiommu } from '../locate/find_cdev.ts';
import type { RootOptions } from '../locate/roots.ts';

/** How a device was opened: every kind but `noiommu` is confined by an IOMMU. */
export function backendOf(kind: BackendKind, why: string): Backend {
  return { kind, isolated: kind !== 'noiommu', why };
}

const kinds: unknown[] = ['auto', 'cdev', 'group', 'compat', 'noiommu'];

/** @throws TypeError */
export function checkBackend(backend: unknown): void {
  if (backend === undefined || kinds.includes(backend)) return;
  const expected = "'auto', 'cdev', 'group', 'compat' or 'noiommu'";
  if (typeof backend !== 'string') throw invalidType('backend', expected, backend);
  throw invalidValue('backend', expected, backend);
}

/**
 * Lets through what is opened as it is: a device without an IOMMU is opened by who says so, and by
 * no one else.
 *
 * @throws VfioError `ERR_VFIO_WRONG_BACKEND`
 */
export function requireIsolation<Location extends NodeLocation>(
  location: Location,
  kind: BackendKind,
): Location {
  const { name, path, device } = location;
  const isWithout = isNoiommu(location);
  if (isWithout === (kind === 'noiommu')) return location;
  const { address } = device;
  const message = isWithout
    ? `${address} has no IOMMU`
    : `${address} has an IOMMU: open it by its cdev or its group`;
  const error = new VfioError({ code: 'ERR_VFIO_WRONG_BACKEND', message, path, device: address });
  if (!isWithout) throw error;
  throw explained(error, { reason: 'no-iommu', certainty: 'certain', facts: { name } });
}

/** Told each time: it is the machine's memory. */
export function warnOfNoiommu({ address }: SysfsDevice): void {
  const message = `${address} is open without an IOMMU: its DMA reaches all memory of this machine`;
  processWarning(message, 'VFIO_NOIOMMU');
}

/** How long to wait for a device's node. */
export interface OpenSyncOptions extends RootOptions {
  /**
   * Milliseconds to wait for a node that is missing, may not be opened yet or has other numbers
   * than the device: devtmpfs makes it, and udev gives it its rights a little later. 0 tries once,
   * which is what the blocking functions do unless told otherwise; the others wait 1,000.
   */
  timeout?: number | undefined;
}

/** {@link OpenSyncOptions}, and a signal to give up. */
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
