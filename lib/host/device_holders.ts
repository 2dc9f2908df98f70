import type { SysfsDevice } from '../core/location.ts';
import type { Holding } from '../core/reasons.ts';
import { either, type Steps } from '../core/steps.ts';
import { findHolders, findHoldersSync } from '../diagnose/holders.ts';
import { cdevFolders, isCdevName } from '../locate/path.ts';
import { listNames, readAttribute, readLinkName } from '../locate/sysfs.ts';
import { virtualFunctionsOf } from '../locate/virtual_functions.ts';

/** So many milliseconds are given to looking at all processes. */
const mostMilliseconds = 1_000;

/** The processes that have one of these nodes open, which {@link nodesOf} answered. */
export function* whoHolds(numbers: string[]): Steps<Holding> {
  if (numbers.length === 0) return { holders: [], hidden: 0, searched: true };
  const search = { numbers, targets: [] };
  const deadline = performance.now() + mostMilliseconds;
  return yield* either(
    () => findHolders(search, undefined, deadline),
    () => findHoldersSync(search, undefined, deadline),
  );
}

/**
 * `major:minor` of the nodes by which a VFIO device is opened, its cdev's and its legacy group's.
 * Once its driver is being taken away the cdev's are not to be seen any more: ask before.
 */
export function nodesOf(device: SysfsDevice, sysfsRoot: string): string[] {
  const { sysfsPath } = device;
  if (!isVfio(device)) return [];
  const cdevs = cdevFolders.flatMap((folder) =>
    (listNames(`${sysfsPath}/${folder}`) ?? [])
      .filter(isCdevName)
      .map((name) => readAttribute(`${sysfsPath}/${folder}/${name}/dev`)),
  );
  const group = readLinkName(`${sysfsPath}/iommu_group`);
  const groups = group === undefined ? [] : [group, `noiommu-${group}`];
  const ofGroup = groups.map((name) => readAttribute(`${sysfsRoot}/class/vfio/${name}/dev`));
  return [...cdevs, ...ofGroup].filter((each) => each !== undefined);
}

/** The same for a device and its virtual functions, which go with its driver. */
export function nodesWithFunctions(device: SysfsDevice, sysfsRoot: string): string[] {
  const all = [device, ...virtualFunctionsOf(device, sysfsRoot)];
  return all.flatMap((each) => nodesOf(each, sysfsRoot));
}

/** Every driver of VFIO makes this folder, on kernels without cdevs as well. */
export function isVfio({ sysfsPath }: SysfsDevice): boolean {
  return cdevFolders.some((name) => listNames(`${sysfsPath}/${name}`) !== undefined);
}
