import { basename } from 'node:path';
import { requirePlatform } from '../addon.ts';
import { requireObject } from '../core/arguments.ts';
import { ENOENT } from '../core/errno.ts';
import { explained, systemError, type VfioError } from '../core/errors.ts';
import type { DeviceAddress, Roots, SysfsDevice } from '../core/location.ts';
import { run, runSync, type Steps } from '../core/steps.ts';
import {
  decodeFacts,
  type DeviceFacts,
  factEntries,
  noteUnread,
  numberOr,
  type UnreadEntry,
} from './facts.ts';
import { busyOverride, driverInUevent, overrideIn } from './driver_override.ts';
import { type FolderContents, readFolders } from './folders.ts';
import { cdevFolders, isCdevName, numbersInUevent, parseNumbers } from './path.ts';
import { type RootOptions, rootsOf } from './roots.ts';
import { listNames, readAttribute } from './sysfs.ts';
import { virtfnNames } from './virtual_functions.ts';

/** A device's VFIO cdev, as sysfs says it is: the node is not opened, nor looked for. */
export interface ListedCdev {
  /** `vfioN` (`noiommu-vfioN` without an IOMMU). */
  name: string;
  /** The node that should have these numbers. */
  path: string;
  /** The node's major number. */
  major: number;
  /** The node's minor number. */
  minor: number;
}

/** A device that has a VFIO driver, or an IOMMU group and so could have one. */
export interface ListedDevice extends DeviceFacts {
  /** Its driver is a VFIO driver: there is a `vfio-dev` folder. */
  boundToVfio: boolean;
  /** null without a VFIO driver, and where the kernel makes no cdevs. */
  cdev: ListedCdev | null;
  /** A virtual function's physical function, by its address; null for what is none. */
  physfn: string | null;
  /** A physical function's virtual functions in their order; null for what can have none. */
  virtfns: string[] | null;
  /** How many virtual functions it has; null where it can have none. */
  sriovNumVfs: number | null;
  /** How many virtual functions it can have; null where it can have none. */
  sriovTotalVfs: number | null;
}

/**
 * Every device, on any bus, that has a VFIO driver or an IOMMU group, in the order of bus and
 * address. Opens no device. A device that comes or goes meanwhile is there as a whole or not at
 * all. The files are read on a thread of the addon's own.
 *
 * @param options - where sysfs and the device nodes are, if elsewhere
 * @throws TypeError `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE`
 * @throws VfioError `ENOENT` where there is no sysfs, or something empty is mounted over it, and
 *   other errors of the kernel; `ERR_VFIO_UNSUPPORTED_PLATFORM`
 */
export async function listDevices(options: RootOptions = {}): Promise<ListedDevice[]> {
  return await run(list(options));
}

/** The blocking form of {@link listDevices}. */
export function listDevicesSync(options: RootOptions = {}): ListedDevice[] {
  return runSync(list(options));
}

/** The body of both. */
export function* list(options: RootOptions): Steps<ListedDevice[]> {
  requirePlatform();
  requireObject('options', options);
  const roots = rootsOf(options);
  const { found, torn } = yield* readDevices(yield* findDevices(roots.sysfsRoot), roots);
  // Those of which a part went away: the whole device went, or it only changed its driver.
  if (torn.length > 0) found.push(...(yield* readDevices(torn, roots)).found);
  return found.sort(byPlace);
}

/** The order of bus and address. */
export function byPlace(a: DeviceAddress, b: DeviceAddress): number {
  return compare(a.bus, b.bus) || compare(a.address, b.address);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}

const cdevEntries = cdevFolders.map((name) => `${name}/`);

/** The cdev's folder in the device's: `vfio-dev/vfioN`. */
function cdevIn(folder: FolderContents): string | undefined {
  for (const parent of cdevFolders) {
    const name = folder.names(parent)?.find(isCdevName);
    if (name !== undefined) return `${parent}/${name}`;
  }
  return undefined;
}

/** Devices on every bus with a VFIO driver or an IOMMU group: two looks at each device. */
function* findDevices(sysfsRoot: string): Steps<SysfsDevice[]> {
  const root = `${sysfsRoot}/bus`;
  const [buses] = yield* readFolders([root], String, ['./'], (folder) => folder.names('.'));
  // Every kernel has buses.
  if (buses === undefined || buses.length === 0) throw notShown(root);
  const lists = yield* readFolders(
    buses,
    (bus) => `${root}/${bus}`,
    ['devices/'],
    (folder, bus) => folder.names('devices') ?? shownAgain(`${root}/${bus}`),
  );
  const devices = buses.flatMap((bus, at) =>
    (lists[at] ?? []).map((address) => ({
      bus,
      address,
      sysfsPath: `${root}/${bus}/devices/${address}`,
    })),
  );
  const wanted = yield* readFolders(
    devices,
    ({ sysfsPath }) => sysfsPath,
    ['iommu_group@', ...cdevEntries],
    mayBeWanted,
  );
  return devices.filter((_, at) => wanted[at]);
}

/**
 * The devices of a bus whose list was not there: none where the bus has gone meanwhile, as it does
 * with its module. Every bus has a list: where it has none, something is mounted over it.
 */
function shownAgain(bus: string): string[] {
  const names = listNames(`${bus}/devices`);
  if (names === undefined && listNames(bus) !== undefined) throw notShown(`${bus}/devices`);
  return names ?? [];
}

/** What every kernel has is hidden where it is not there. */
export function notShown(path: string): VfioError {
  const error = systemError({ errno: ENOENT, syscall: 'open', path });
  const facts = { path, code: 'ENOENT' };
  return explained(error, { reason: 'sysfs-absent', certainty: 'certain', facts });
}

/** It has a VFIO driver or a group; or nobody can tell. */
function mayBeWanted(folder: FolderContents): boolean {
  const unread: UnreadEntry[] = [];
  const group = noteUnread(unread, 'iommu_group', () => folder.linkName('iommu_group'));
  const cdev = noteUnread(unread, 'vfio-dev', () => cdevIn(folder));
  return group !== undefined || cdev !== undefined || unread.length > 0;
}

/** A device of which all is read but what its first reading tells where to look for. */
interface Draft {
  device: ListedDevice;
  /** `vfio-dev/vfioN` */
  cdevFolder: string | undefined;
  torn: boolean;
}

const entries = [
  ...factEntries,
  ...cdevEntries,
  'physfn@',
  'sriov_totalvfs',
  // Last: it is the first that the kernel removes, so that where it is there, all was there.
  'uevent?',
];

function* readDevices(
  devices: SysfsDevice[],
  roots: Roots,
): Steps<{ found: ListedDevice[]; torn: SysfsDevice[] }> {
  const drafts = yield* readFolders(devices, ({ sysfsPath }) => sysfsPath, entries, draft);
  yield* readOverrides(drafts);
  yield* readCdevs(drafts, roots);
  yield* readVirtfns(drafts);
  return {
    found: drafts.filter((draft) => !draft.torn && isWanted(draft)).map(({ device }) => device),
    torn: devices.filter((_, at) => drafts[at]?.torn),
  };
}

/** Between two looks it may have lost what it was found by. */
function isWanted({ device }: Draft): boolean {
  const { boundToVfio, iommuGroup, unread = [] } = device;
  return boundToVfio || iommuGroup !== null || unread.some(({ name }) => tellsWanted.has(name));
}

/** What could not be read of these, nobody can say that the device has not. */
const tellsWanted = new Set(['iommu_group', 'vfio-dev']);

function draft(folder: FolderContents, location: SysfsDevice): Draft {
  const unread: UnreadEntry[] = [];
  const number = (name: string): number | null =>
    numberOr(noteUnread(unread, name, () => folder.text(name)));
  const sriovTotalVfs = number('sriov_totalvfs');
  const cdevFolder = noteUnread(unread, 'vfio-dev', () => cdevIn(folder));
  const more = {
    boundToVfio: cdevFolder !== undefined,
    cdev: null,
    physfn: noteUnread(unread, 'physfn', () => folder.linkName('physfn')) ?? null,
    virtfns: sriovTotalVfs === null ? null : [],
    sriovNumVfs: sriovTotalVfs === null ? null : 0,
    sriovTotalVfs,
  };
  const device = Object.assign(decodeFacts(location, folder, unread), more);
  return { device, cdevFolder, torn: isTorn(folder) };
}

/** Its removal has begun. Where that cannot be seen, it has not been seen. */
function isTorn(folder: FolderContents): boolean {
  return noteUnread([], 'uevent', () => folder.has('uevent')) === false;
}

/**
 * Of devices without a driver `driver_override` is read apart, and not at all of those that are being
 * taken from theirs: it would wait.
 */
function* readOverrides(drafts: Draft[]): Steps<void> {
  const driverless = drafts.filter(({ device }) => device.driver === null);
  const folderOf = ({ device }: Draft): string => device.sysfsPath;
  const left = yield* readFolders(driverless, folderOf, ['uevent'], isLeft);
  const free = driverless.filter((_, at) => left[at] !== true);
  yield* readFolders(free, folderOf, ['driver_override'], (folder, { device }) => {
    noteOverride(device, () => folder.text('driver_override'));
  });
  for (const { device } of driverless.filter((_, at) => left[at])) {
    noteOverride(device, () => {
      throw busyOverride(device);
    });
  }
}

/** Where that cannot be seen, it has not been seen. */
function isLeft(folder: FolderContents): boolean {
  const uevent = noteUnread([], 'uevent', () => folder.text('uevent'));
  return driverInUevent(uevent) !== undefined;
}

function noteOverride(device: ListedDevice, read: () => string | undefined): void {
  const unread = device.unread ?? [];
  device.driverOverride = overrideIn(noteUnread(unread, 'driver_override', read));
  if (unread.length > 0) device.unread = unread;
}

function* readCdevs(drafts: Draft[], { devRoot }: Roots): Steps<void> {
  const bound = drafts.filter(({ cdevFolder }) => cdevFolder !== undefined);
  yield* readFolders(
    bound,
    ({ device, cdevFolder }) => `${device.sysfsPath}/${cdevFolder ?? ''}`,
    ['dev', 'uevent?'],
    (folder, draft) => {
      const { cdevFolder = '', device } = draft;
      const name = basename(cdevFolder);
      const unread = device.unread ?? [];
      const dev = noteUnread(unread, `${cdevFolder}/dev`, () => folder.text('dev'));
      if (unread.length > 0) device.unread = unread;
      const place = `${device.sysfsPath}/${cdevFolder}`;
      const numbers = dev === undefined ? numbersWithoutDev(place) : parseNumbers(dev);
      if (numbers) device.cdev = { name, path: `${devRoot}/vfio/devices/${name}`, ...numbers };
      draft.torn ||= isTorn(folder);
    },
  );
}

/** Where `dev` is not there for a moment: `cdevNumbers` of find_cdev.ts says when. */
function numbersWithoutDev(folder: string): ReturnType<typeof parseNumbers> {
  const uevent = noteUnread([], 'uevent', () => readAttribute(`${folder}/uevent`));
  return numbersInUevent(uevent ?? '');
}

/**
 * Virtual functions are told by their links: reading `sriov_numvfs` would wait for a device that is
 * being taken from its driver.
 */
function* readVirtfns(drafts: Draft[]): Steps<void> {
  const able = drafts.filter(({ device }) => (device.sriovTotalVfs ?? 0) > 0);
  const ownNames = yield* readFolders(
    able,
    ({ device }) => device.sysfsPath,
    ['./'],
    (folder, draft) => {
      const unread = draft.device.unread ?? [];
      const all = noteUnread(unread, '.', () => folder.names('.'));
      if (unread.length > 0) draft.device.unread = unread;
      else draft.torn ||= all === undefined;
      return virtfnNames(all ?? []);
    },
  );
  const names = [...new Set(ownNames.flat())];
  const parents = able.flatMap((draft, at) => {
    const own = ownNames[at] ?? [];
    return own.length > 0 ? [{ draft, own }] : [];
  });
  yield* readFolders(
    parents,
    ({ draft }) => draft.device.sysfsPath,
    names.map((name) => `${name}@`),
    (folder, { draft, own }) => {
      const unread = draft.device.unread ?? [];
      const found = own.map((name) => noteUnread(unread, name, () => folder.linkName(name)));
      draft.device.virtfns = found.filter((name) => name !== undefined);
      draft.device.sriovNumVfs = own.length;
      if (unread.length > 0) draft.device.unread = unread;
      const isUnread = (at: number): boolean => unread.some(({ name }) => name === own[at]);
      draft.torn ||= found.some((name, at) => name === undefined && !isUnread(at));
    },
  );
}
