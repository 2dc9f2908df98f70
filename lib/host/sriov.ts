import { requirePlatform } from '../addon.ts';
import { requireObject } from '../core/arguments.ts';
import { explained, VfioError } from '../core/errors.ts';
import type { DeviceSpec, SysfsDevice } from '../core/location.ts';
import type { Holding, HostNeed } from '../core/reasons.ts';
import { run, runSync, type Steps } from '../core/steps.ts';
import { describeDevice } from '../diagnose/explain.ts';
import type { DeviceFacts } from '../locate/facts.ts';
import { numberOr } from '../locate/facts.ts';
import { cdevFolders, isCdevName } from '../locate/path.ts';
import { listNames, readAttribute, readLinkName } from '../locate/sysfs.ts';
import { virtfnsOf } from '../locate/virtual_functions.ts';
import { nodesOf, whoHolds } from './device_holders.ts';
import { type HostRootOptions, type HostRoots, hostRootsOf } from './host_roots.ts';
import { functionNeeds } from './refusals.ts';

/** A virtual function, as its physical function's `virtfnN` in sysfs leads to it. */
export interface VirtualFunction {
  /** Counted from 0. */
  index: number;
  /** Its PCI address. */
  address: string;
  /** Its driver; null without one. */
  driver: string | null;
  /** The number of its IOMMU group; null without one. */
  iommuGroup: number | null;
  /** The name of its cdev, `vfioN`; null without a VFIO driver, and where the kernel makes none. */
  cdev: string | null;
  /** What the host, and programs, have of it now: while there is anything, it is not removed. */
  needs: HostNeed[];
  /** In sentences what could not be looked at, which is no proof that nothing is needed. */
  unseen: string[];
}

/** A physical function of SR-IOV and its virtual functions, as sysfs shows them. */
export interface PhysicalFunction {
  /** Its PCI address. */
  address: string;
  /** `/sys/bus/pci/devices/<address>` */
  sysfsPath: string;
  /** Its driver; null without one. */
  driver: string | null;
  /** The number of its IOMMU group; null without one. */
  iommuGroup: number | null;
  /** How many virtual functions there are, by their links `virtfnN`. */
  numVfs: number;
  /** How many there can be: `sriov_totalvfs`. */
  totalVfs: number;
  /**
   * Whether the kernel offers new virtual functions to the host's drivers
   * (`sriov_drivers_autoprobe`); null where it does not say.
   */
  driversAutoprobe: boolean | null;
  /** Who has the physical function itself open by VFIO. */
  holding: Holding;
  /** The virtual functions that there are. */
  vfs: VirtualFunction[];
}

/**
 * What sysfs says of a physical function and its virtual functions, and who uses them. Opens no
 * device, but a disk of theirs that seems idle is asked whether somebody has it.
 *
 * @param pf - the physical function
 * @param options - where sysfs and others are, if elsewhere
 * @throws TypeError, RangeError for what cannot name a device
 * @throws VfioError `ERR_VFIO_NO_DEVICE`; `ERR_VFIO_UNSUPPORTED` where the device is no physical
 *   function
 */
export function describeSriov(
  pf: DeviceSpec,
  options: HostRootOptions = {},
): Promise<PhysicalFunction> {
  return run(sriovOf(pf, options));
}

/** The blocking form of {@link describeSriov}. */
export function describeSriovSync(pf: DeviceSpec, options: HostRootOptions = {}): PhysicalFunction {
  return runSync(sriovOf(pf, options));
}

function* sriovOf(pf: DeviceSpec, options: HostRootOptions): Steps<PhysicalFunction> {
  requirePlatform();
  requireObject('options', options);
  const roots = hostRootsOf(options);
  return yield* readSriov(describeDevice(pf, roots), roots);
}

/** @throws VfioError `ERR_VFIO_UNSUPPORTED` where the device is no physical function */
export function* readSriov(device: DeviceFacts, roots: HostRoots): Steps<PhysicalFunction> {
  const { address, sysfsPath, driver, iommuGroup } = device;
  const totalVfs = numberIn(device, 'sriov_totalvfs');
  if (totalVfs === undefined) throw noSriov(device);
  const autoprobe = numberIn(device, 'sriov_drivers_autoprobe');
  const holding = yield* whoHolds(nodesOf(device, roots.sysfsRoot));
  const vfs: VirtualFunction[] = [];
  const links = virtfnsOf(device);
  for (const [index, name] of links.entries()) {
    const own = yield* readVf(index, name, roots);
    if (own) vfs.push(own);
  }
  return {
    ...{ address, sysfsPath, driver, iommuGroup },
    numVfs: links.length,
    totalVfs,
    driversAutoprobe: autoprobe === undefined ? null : autoprobe !== 0,
    ...{ holding, vfs },
  };
}

/** A number in a device's folder; undefined where there is no such file. */
function numberIn({ sysfsPath }: SysfsDevice, name: string): number | undefined {
  return numberOr(readAttribute(`${sysfsPath}/${name}`)) ?? undefined;
}

/** undefined where it is gone meanwhile. */
function* readVf(
  index: number,
  address: string,
  roots: HostRoots,
): Steps<VirtualFunction | undefined> {
  const sysfsPath = `${roots.sysfsRoot}/bus/pci/devices/${address}`;
  if (listNames(sysfsPath) === undefined) return undefined;
  const device: SysfsDevice = { bus: 'pci', address, sysfsPath };
  const { needs, unseen } = yield* functionNeeds(device, roots);
  return {
    ...{ index, address },
    driver: readLinkName(`${sysfsPath}/driver`) ?? null,
    iommuGroup: numberOr(readLinkName(`${sysfsPath}/iommu_group`)),
    cdev: cdevOf(device),
    needs,
    unseen,
  };
}

function cdevOf({ sysfsPath }: SysfsDevice): string | null {
  for (const folder of cdevFolders) {
    const name = listNames(`${sysfsPath}/${folder}`)?.find(isCdevName);
    if (name !== undefined) return name;
  }
  return null;
}

function noSriov({ address, sysfsPath, bus }: DeviceFacts): VfioError {
  const physicalFunction = readLinkName(`${sysfsPath}/physfn`) ?? null;
  const error = new VfioError({
    code: 'ERR_VFIO_UNSUPPORTED',
    message: `${address} is no physical function of SR-IOV`,
    path: sysfsPath,
    device: address,
  });
  const facts = { bus, address, physicalFunction };
  return explained(error, { reason: 'no-sriov', certainty: 'certain', facts });
}
