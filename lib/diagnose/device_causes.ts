import type { VfioError } from '../core/errors.ts';
import type { SysfsDevice } from '../core/location.ts';
import type { Hidden } from '../core/messages.ts';
import type { Cause } from '../core/reasons.ts';
import { canonicalOn } from '../locate/address.ts';
import { driverLeft, readOverride } from '../locate/driver_override.ts';
import { isPresent, isWithoutIommu, sameElsewhere } from '../locate/find_cdev.ts';
import {
  hiddenClasses,
  hiddenDevice,
  hiddenFolder,
  hiddenNumbers,
  listNames,
  readAttribute,
  readLinkName,
} from '../locate/sysfs.ts';
import { isBridge } from './group.ts';
import { deviceUses } from './host_uses.ts';
import type { Subject } from './subject.ts';

/** What of sysfs is not to be seen, where the error comes from that. */
export function hiddenCause(
  { code, path = '', errno }: VfioError,
  subject: Subject,
): Cause | undefined {
  const { device, roots } = subject;
  const { sysfsRoot } = roots;
  if (code === 'ERR_VFIO_NO_DEVICE') {
    return sysfsAbsent(device ? hiddenDevice(device, roots) : hiddenNumbers(roots));
  }
  if (code === 'ERR_VFIO_NO_GROUP') return sysfsAbsent(hiddenClasses(roots));
  const isOfSysfs = errno !== undefined && sysfsRoot !== '' && path.startsWith(`${sysfsRoot}/`);
  return isOfSysfs ? sysfsAbsent({ path, code }) : undefined;
}

export function sysfsAbsent(hidden: Hidden | undefined): Cause<'sysfs-absent'> | undefined {
  return hidden && { reason: 'sysfs-absent', certainty: 'certain', facts: { ...hidden } };
}

/** Why a device that sysfs should show is not there, or not as a VFIO device. */
export function deviceCause({ code }: VfioError, { device, roots }: Subject): Cause | undefined {
  if (device === undefined) return undefined;
  const { bus, address } = device;
  if (code === 'ERR_VFIO_NO_DEVICE') {
    const others = sameElsewhere(device, roots);
    const facts = { bus, address, ...(others.length > 0 && { elsewhere: others }) };
    return { reason: 'no-device', certainty: 'certain', facts };
  }
  if (!isPresent(device)) {
    const hidden = sysfsAbsent(hiddenDevice(device, roots));
    return hidden ?? { reason: 'gone', certainty: 'certain', facts: { bus, address } };
  }
  const removal = removalCause(device);
  if (removal) return removal;
  if (code === 'ERR_VFIO_NOT_BOUND_TO_VFIO') return notBound(device, roots.sysfsRoot);
  if (code === 'ERR_VFIO_NO_CDEV') return noCdev(device);
  return undefined;
}

/** What no VFIO driver takes is said first: a bridge, and a device without a group. */
function notBound({ bus, address, sysfsPath }: SysfsDevice, sysfsRoot: string): Cause {
  const driver = readLinkName(`${sysfsPath}/driver`) ?? null;
  const classCode = bus === 'pci' ? readAttribute(`${sysfsPath}/class`) : undefined;
  if (isBridge(classCode)) {
    const behind = (listNames(sysfsPath) ?? []).filter(isPciAddress).sort();
    const facts = { bus, address, driver, behind };
    return { reason: 'bridge', certainty: 'certain', facts };
  }
  if (readLinkName(`${sysfsPath}/iommu_group`) === undefined) {
    const facts = { driver, iommus: iommusIn(sysfsRoot) };
    return { reason: 'no-iommu-group', certainty: 'certain', facts };
  }
  const driverOverride = readOverride({ sysfsPath });
  const uses = driver === null ? {} : deviceUses({ address, sysfsPath }, { sysfsRoot });
  const facts = { bus, address, driver, driverOverride, ...uses };
  return { reason: 'not-bound', certainty: 'certain', facts };
}

function isPciAddress(name: string): boolean {
  return canonicalOn('pci', name) === name;
}

/** null where the classes are hidden. A kernel that uses no IOMMU may have no class of them. */
function iommusIn(sysfsRoot: string): number | null {
  const iommus = listNames(`${sysfsRoot}/class/iommu`);
  if (iommus !== undefined) return iommus.length;
  return hiddenFolder(`${sysfsRoot}/class`) ? null : 0;
}

function noCdev(device: SysfsDevice): Cause {
  const noiommu = isWithoutIommu(device);
  const { release } = process.getBuiltinModule('node:os');
  return { reason: 'no-cdev', certainty: 'certain', facts: { release: release(), noiommu } };
}

/** The token was missing, or another: a virtual function's is that of its physical function. */
export function tokenCause({ sysfsPath, address }: SysfsDevice): Cause<'vf-token-required'> {
  const physicalFunction = readLinkName(`${sysfsPath}/physfn`) ?? address;
  return { reason: 'vf-token-required', certainty: 'certain', facts: { physicalFunction } };
}

/** Whether a device is being taken from its driver. */
export function removalCause(device: SysfsDevice): Cause<'being-removed'> | undefined {
  const { bus, address } = device;
  const driver = driverLeft(device);
  if (driver === undefined) return undefined;
  return { reason: 'being-removed', certainty: 'certain', facts: { bus, address, driver } };
}

/**
 * Why a device that is open does not answer, where sysfs says that it is gone, or is being removed.
 * What is hidden is not gone.
 */
export function absenceCause(device: SysfsDevice): Cause<'gone' | 'being-removed'> | undefined {
  const { bus, address, sysfsPath } = device;
  if (isPresent(device)) return removalCause(device);
  const path = process.getBuiltinModule('node:path');
  const others = listNames(path.dirname(sysfsPath)) ?? [];
  if (others.length === 0 || others.includes(path.basename(sysfsPath))) return undefined;
  return { reason: 'gone', certainty: 'certain', facts: { bus, address } };
}

/**
 * Who else has the line of a device's INTx. vfio-pci shares a line where the device can be masked
 * by its Command register, and wants it for itself otherwise.
 */
export function intxCause(device: SysfsDevice, sysfsRoot: string): Cause<'intx-line-taken'> {
  const line = Number(readAttribute(`${device.sysfsPath}/irq`) ?? 0);
  const actions = readAttribute(`${sysfsRoot}/kernel/irq/${line}/actions`) ?? '';
  const others = actions.split(',').filter((name) => name !== '');
  const parameter = readAttribute(`${sysfsRoot}/module/vfio_pci/parameters/nointxmask`);
  const nointxmask = parameter === undefined ? null : parameter === 'Y';
  return {
    reason: 'intx-line-taken',
    certainty: others.length > 0 ? 'certain' : 'likely',
    facts: { address: device.address, line, others, nointxmask },
  };
}
