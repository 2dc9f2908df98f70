import { requirePlatform } from '../addon.ts';
import { requireObject } from '../core/arguments.ts';
import type { Roots } from '../core/location.ts';
import type { GroupMember } from '../core/reasons.ts';
import { run, runSync, type Steps } from '../core/steps.ts';
import { type Member, visibleMembers } from '../diagnose/group.ts';
import { noteUnread, type UnreadEntry } from '../locate/facts.ts';
import { type FolderContents, readFolders } from '../locate/folders.ts';
import { byPlace, list, type ListedDevice, notShown } from '../locate/list.ts';
import { type RootOptions, rootsOf } from '../locate/roots.ts';
import { listNames } from '../locate/sysfs.ts';

/** A device of a group: what sysfs says of it, and what the host has of it. */
export interface ListedGroupDevice
  extends ListedDevice, Pick<GroupMember, 'verdict' | 'uses' | 'unseen' | 'bridge'> {}

/** An IOMMU group: the devices that no IOMMU tells apart, and that can be given away together. */
export interface ListedGroup {
  /** The group's number in sysfs. */
  group: number;
  /**
   * The default domain's type, as sysfs writes it: `DMA`, `DMA-FQ` (unmaps are flushed in batches),
   * `identity` (passthrough), `blocked`, `unknown`; null where the kernel does not say.
   */
  type: string | null;
  /**
   * What confines the devices' DMA: an IOMMU; `emulated`: a mediated device's own driver; `none`:
   * nothing, since VFIO made the group for a device without an IOMMU.
   */
  isolation: 'iommu' | 'emulated' | 'none';
  /**
   * Whether a program may own the group: `not-viable` where the host has a device of it by a driver
   * that does DMA, `unknown` where a device of it is not to be seen.
   */
  viability: 'viable' | 'not-viable' | 'unknown';
  /** In the order of bus and address. None, where they are not to be seen. */
  devices: ListedGroupDevice[];
  /** Addresses of devices of which sysfs shows no more here. */
  hidden: string[];
  /** What is there and could not be read; absent where all could. */
  unread?: UnreadEntry[];
}

/**
 * The IOMMU groups by their numbers, each with its devices. Opens no device. None where the kernel
 * has no IOMMU in use: then only mediated devices, and those that VFIO takes without an IOMMU, have
 * groups.
 *
 * @param options - where sysfs and the device nodes are, if elsewhere
 * @throws TypeError `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE`
 * @throws VfioError `ENOENT` where a part of sysfs is hidden that tells of them
 *   (`sysfs-absent`), and other errors of the kernel; `ERR_VFIO_UNSUPPORTED_PLATFORM`
 */
export async function listGroups(options: RootOptions = {}): Promise<ListedGroup[]> {
  return await run(groups(options));
}

/** The blocking form of {@link listGroups}. */
export function listGroupsSync(options: RootOptions = {}): ListedGroup[] {
  return runSync(groups(options));
}

function* groups(options: RootOptions): Steps<ListedGroup[]> {
  requirePlatform();
  requireObject('options', options);
  const roots = rootsOf(options);
  const root = `${roots.sysfsRoot}/kernel/iommu_groups`;
  const drafts = yield* readDrafts(root, roots);
  // After the groups: what is in one and not in this list has gone meanwhile.
  const devices = yield* list(options);
  if (drafts.length === 0 && devices.some(({ iommuGroup }) => iommuGroup !== null)) {
    // Devices have groups, and the folder of groups shows none.
    throw notShown(root);
  }
  const byFolder = new Map(devices.map((device) => [`${device.bus}/${device.address}`, device]));
  return drafts
    .map((draft) => groupOf(draft, byFolder))
    .filter((group) => group !== undefined)
    .sort((a, b) => a.group - b.group);
}

/** A group before its devices were read as a whole. */
interface Draft {
  group: number;
  type: string | undefined;
  name: string | undefined;
  unread: UnreadEntry[];
  members: Member[];
  hidden: string[];
}

function* readDrafts(root: string, { sysfsRoot }: Roots): Steps<Draft[]> {
  const numbers = (listNames(root) ?? []).filter((name) => /^\d{1,9}$/.test(name));
  const read = yield* readFolders(
    numbers,
    (number) => `${root}/${number}`,
    ['type', 'name', '.?'],
    attributesOf,
  );
  const drafts: Draft[] = [];
  for (const [at, number] of numbers.entries()) {
    const attributes = read[at];
    if (attributes === undefined) continue;
    const found = yield* visibleMembers(`${root}/${number}/devices`, sysfsRoot);
    drafts.push({ group: Number(number), ...attributes, ...found });
  }
  return drafts;
}

/** undefined where the group has gone meanwhile. */
function attributesOf(folder: FolderContents): Pick<Draft, 'type' | 'name' | 'unread'> | undefined {
  const unread: UnreadEntry[] = [];
  const type = noteUnread(unread, 'type', () => folder.text('type'));
  const name = noteUnread(unread, 'name', () => folder.text('name'));
  return folder.has('.') ? { type, name, unread } : undefined;
}

function groupOf(draft: Draft, all: Map<string, ListedDevice>): ListedGroup | undefined {
  const { group, type, unread, members, hidden } = draft;
  const devices = members
    .map((member) => deviceOf(member, all.get(`${member.bus}/${member.address}`)))
    .filter((device) => device !== undefined)
    .sort(byPlace);
  // All that it had has gone, and so has the group.
  if (members.length > 0 && devices.length + hidden.length === 0) return undefined;
  return {
    ...{ group, type: type ?? null, isolation: isolationOf(draft) },
    ...{ viability: viabilityOf(devices, hidden), devices, hidden: [...hidden].sort() },
    ...(unread.length > 0 && { unread }),
  };
}

function deviceOf(
  { verdict, uses, unseen, bridge }: Member,
  device: ListedDevice | undefined,
): ListedGroupDevice | undefined {
  if (device === undefined) return undefined;
  return {
    ...{ ...device, verdict },
    ...(uses && { uses }),
    ...(unseen && { unseen }),
    ...(bridge && { bridge }),
  };
}

/** VFIO gives this name to groups that it makes itself: for mediated devices, or without an IOMMU. */
const madeByVfio = 'vfio-noiommu';

function isolationOf({ name, members }: Draft): ListedGroup['isolation'] {
  if (name !== madeByVfio) return 'iommu';
  return members.length > 0 && members.every(({ bus }) => bus === 'mdev') ? 'emulated' : 'none';
}

function viabilityOf(
  devices: readonly ListedGroupDevice[],
  hidden: readonly string[],
): ListedGroup['viability'] {
  if (devices.some(({ verdict }) => verdict === 'host-driver')) return 'not-viable';
  return devices.length === 0 || hidden.length > 0 ? 'unknown' : 'viable';
}
