import type { SysfsDevice } from '../locate/find_cdev.ts';
import { readFolders, type Reading } from '../locate/folders.ts';
import { listNames, readLinkName } from '../locate/sysfs.ts';
import type { GroupMember } from '../reasons.ts';

/** An IOMMU group, as sysfs shows it. */
export interface IommuGroup {
  group: number;
  members: Member[];
}

/** A member with the names of its cdevs; none without a VFIO driver. */
export interface Member extends GroupMember {
  cdevs: string[];
}

/** The group that a device is in; undefined where it is in none. */
export function* groupOf(device: SysfsDevice): Reading<IommuGroup | undefined> {
  const group = readLinkName(`${device.sysfsPath}/iommu_group`);
  if (group === undefined) return undefined;
  const members = yield* membersIn(`${device.sysfsPath}/iommu_group/devices`);
  return { group: Number(group), members };
}

/** The devices in a group's folder. */
export function* membersIn(folder: string): Reading<Member[]> {
  return yield* readFolders(
    listNames(folder) ?? [],
    (name) => `${folder}/${name}`,
    ['driver@', 'subsystem@', 'vfio-dev/'],
    (entries, address) => {
      const driver = entries.linkName('driver') ?? null;
      const cdevs = entries.names('vfio-dev');
      const isFree = driver === null || cdevs !== undefined || leavesDmaToOthers.has(driver);
      const verdict = isFree ? 'ok' : 'host-driver';
      return {
        bus: entries.linkName('subsystem') ?? '',
        address,
        driver,
        verdict,
        cdevs: cdevs ?? [],
      };
    },
  );
}

/** Drivers without DMA of their own, which do not claim the group (driver_managed_dma in Linux). */
const leavesDmaToOthers = new Set(['pcieport', 'pci-stub', 'fsl_mc_dprc']);
