import type { SysfsDevice } from '../core/location.ts';
import type { Hidden } from '../core/messages.ts';
import type { GroupMember } from '../core/reasons.ts';
import type { Steps } from '../core/steps.ts';
import { type FolderContents, readFolders } from '../locate/folders.ts';
import { listNames, readLinkName } from '../locate/sysfs.ts';
import { deviceUses } from './host_uses.ts';

/** An IOMMU group, as sysfs shows it. */
export interface IommuGroup {
  group: number;
  members: Member[];
}

/** A member with the names of its cdevs; none without a VFIO driver. */
export interface Member extends GroupMember {
  cdevs: string[];
  /** Its own, in sysfs. */
  folder: string;
}

/** The group that a device is in; undefined where it is in none. */
export function* groupOf(
  device: SysfsDevice,
  sysfsRoot: string,
): Steps<IommuGroup | Hidden | undefined> {
  const group = readLinkName(`${device.sysfsPath}/iommu_group`);
  if (group === undefined) return undefined;
  const folder = `${device.sysfsPath}/iommu_group/devices`;
  const members = yield* membersIn(folder, sysfsRoot);
  // The device itself is one.
  return members && members.length > 0
    ? { group: Number(group), members }
    : { path: folder, code: 'ENOENT' };
}

/** The devices in a group's folder; undefined where these, or one of them, are not to be seen. */
export function* membersIn(folder: string, sysfsRoot: string): Steps<Member[] | undefined> {
  const { members, hidden } = yield* visibleMembers(folder, sysfsRoot);
  return hidden.length === 0 ? members : undefined;
}

/** The devices in a group's folder that are to be seen, and the addresses of the others. */
export function* visibleMembers(
  folder: string,
  sysfsRoot: string,
): Steps<{ members: Member[]; hidden: string[] }> {
  const names = listNames(folder) ?? [];
  const found = yield* readFolders(
    names,
    (name) => `${folder}/${name}`,
    ['.?', 'driver@', 'subsystem@', 'vfio-dev/', 'class'],
    (entries, address) =>
      entries.has('.') ? memberOf(entries, address, `${folder}/${address}`, sysfsRoot) : undefined,
  );
  const members = found.filter((member) => member !== undefined);
  return { members, hidden: names.filter((_, at) => found[at] === undefined) };
}

function memberOf(
  entries: FolderContents,
  address: string,
  folder: string,
  sysfsRoot: string,
): Member {
  const driver = entries.linkName('driver') ?? null;
  const cdevs = entries.names('vfio-dev');
  const classCode = entries.text('class');
  const isFree = driver === null || cdevs !== undefined || leavesDmaToOthers.has(driver);
  return {
    bus: entries.linkName('subsystem') ?? '',
    address,
    driver,
    verdict: isFree ? 'ok' : 'host-driver',
    ...(!isFree && deviceUses({ address, sysfsPath: folder }, { sysfsRoot })),
    ...(isBridge(classCode) && { bridge: true }),
    cdevs: cdevs ?? [],
    folder,
  };
}

/** By the PCI class: bridges to PCI and CardBus, root ports among them, which vfio-pci refuses. */
export function isBridge(classCode: string | undefined): boolean {
  return /^0x060[479]/.test(classCode ?? '');
}

/** Drivers without DMA of their own, which do not claim the group (driver_managed_dma in Linux). */
const leavesDmaToOthers = new Set(['pcieport', 'pci-stub', 'fsl_mc_dprc']);
