import type { VfioError } from '../errors.ts';
import { isPresent, type SysfsDevice } from '../locate/find_cdev.ts';
import { listNames, readAttribute, readLinkName } from '../locate/sysfs.ts';
import type { Cause } from '../reasons.ts';
import { removalCause } from './removal.ts';
import type { Subject } from './subject.ts';

/** Why a device that sysfs should show is not there, or not as a VFIO device. */
export function deviceCause({ code }: VfioError, { device, roots }: Subject): Cause | undefined {
  if (device === undefined) return undefined;
  const { bus, address } = device;
  if (code === 'ERR_VFIO_NO_DEVICE') {
    return { reason: 'no-device', certainty: 'certain', facts: { bus, address } };
  }
  if (!isPresent(device)) {
    return { reason: 'gone', certainty: 'certain', facts: { bus, address } };
  }
  const removal = removalCause(device);
  if (removal) return removal;
  if (code === 'ERR_VFIO_NOT_BOUND_TO_VFIO') return notBound(device, roots.sysfsRoot);
  if (code === 'ERR_VFIO_NO_CDEV') return noCdev(device);
  return undefined;
}

/** Without a group no VFIO driver would take the device, so that is said first. */
function notBound({ bus, address, sysfsPath }: SysfsDevice, sysfsRoot: string): Cause {
  const driver = readLinkName(`${sysfsPath}/driver`) ?? null;
  if (readLinkName(`${sysfsPath}/iommu_group`) === undefined) {
    const iommus = listNames(`${sysfsRoot}/class/iommu`)?.length ?? 0;
    return { reason: 'no-iommu-group', certainty: 'certain', facts: { driver, iommus } };
  }
  const override = readAttribute(`${sysfsPath}/driver_override`);
  const driverOverride = override === '(null)' || override === '' ? null : (override ?? null);
  const facts = { bus, address, driver, driverOverride };
  return { reason: 'not-bound', certainty: 'certain', facts };
}

function noCdev({ sysfsPath }: SysfsDevice): Cause {
  const noiommu = readAttribute(`${sysfsPath}/iommu_group/name`) === 'vfio-noiommu';
  const { release } = process.getBuiltinModule('node:os');
  return { reason: 'no-cdev', certainty: 'certain', facts: { release: release(), noiommu } };
}
