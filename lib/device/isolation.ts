import { explained } from '../diagnose/explained.ts';
import { VfioError } from '../errors.ts';
import type { NodeLocation, SysfsDevice } from '../locate/find_cdev.ts';
import { isNoiommu } from '../locate/find_group.ts';
import { processWarning } from '../process_warning.ts';
import type { BackendKind } from './backend.ts';

/**
 * Lets through what is opened as it is: a device without an IOMMU is opened by who says so, and by no
 * one else.
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
