import type { Dirent } from 'node:fs';
import { fs } from '../core/builtins.ts';
import { VfioError } from '../core/errors.ts';
import type { Roots, SysfsDevice } from '../core/location.ts';
import type { HostUse } from '../core/reasons.ts';
import {
  hiddenFolder,
  listNames,
  readAttribute,
  readLinkText,
  undefinedIfMissing,
} from '../locate/sysfs.ts';
import { linesOf, type Mount, mountsIn, type ProcRoot } from './mounts.ts';
import { consoleUses, virtioUses } from './virtio_uses.ts';

/** Their names are those of their classes. */
const kinds = ['block', 'net', 'drm'] as const;

/** What is told of a device that has a driver of the host. */
export interface DeviceUses {
  uses?: HostUse[];
  unseen?: HostUse['kind'][];
}

/** Where sysfs is, and procfs, which tells what is mounted: `/proc`. */
export type UseRoots = Pick<Roots, 'sysfsRoot'> & ProcRoot;

/**
 * What the host has of a device, and what of it cannot be seen: all, where sysfs hides its classes;
 * interfaces of another network namespace; and whether a disk is mounted, where that is hidden.
 */
export function deviceUses(
  { address, sysfsPath }: Pick<SysfsDevice, 'address' | 'sysfsPath'>,
  roots: UseRoots,
): DeviceUses {
  if (hiddenFolder(`${roots.sysfsRoot}/class`)) return { unseen: [...kinds] };
  const uses = [
    ...hostUses(address, roots),
    ...virtioUses({ sysfsPath }, roots),
    ...consoleUses(address, roots),
  ];
  const hasDisk = uses.some(({ kind }) => kind === 'block');
  const unseen: HostUse['kind'][] = [
    ...(hasDisk && mountsIn(roots).length === 0 ? (['block'] as const) : []),
    ...(hasHiddenInterface(sysfsPath) ? (['net'] as const) : []),
  ];
  return { ...(uses.length > 0 && { uses }), ...(unseen.length > 0 && { unseen }) };
}

/**
 * Whether an interface below a device's folder is in another network namespace: sysfs lists those
 * of its own, and counts all as links of their folder, which is there while there is one.
 */
function hasHiddenInterface(folder: string): boolean {
  return foldersIn(folder).some((name) => {
    const path = `${folder}/${name}`;
    if (name !== 'net') return !withoutInterfaces.has(name) && hasHiddenInterface(path);
    const shown = listNames(path)?.length ?? 0;
    return shown === 0 || linksOf(path) - 2 > shown;
  });
}

/** Folders that hold no interface, and may be many. */
const withoutInterfaces = new Set(['block', 'power', 'msi_irqs']);

/** Links are left out: in sysfs they lead to other devices. */
function foldersIn(path: string): string[] {
  const read = (): Dirent[] => fs.readdirSync(path, { withFileTypes: true });
  const entries = undefinedIfMissing('open', path, read) ?? [];
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
}

function linksOf(path: string): number {
  return undefinedIfMissing('stat', path, () => fs.statSync(path).nlink) ?? 0;
}

/**
 * What the host has of a device, or of what is behind it: it would lose it with the device. Each is
 * a link in its class that leads through the device's folder, or a disk to which such a one is a
 * way.
 */
function hostUses(address: string, roots: UseRoots): HostUse[] {
  const { sysfsRoot } = roots;
  return kinds.flatMap((kind) => {
    const folder = `${sysfsRoot}/class/${kind}`;
    const all = listNames(folder) ?? [];
    const through = all.filter((name) => leadsThrough(`${folder}/${name}`, address));
    return (kind === 'block' ? throughMultipath(through, all) : through)
      .filter((name) => kind !== 'drm' || /^card\d+$/.test(name))
      .sort()
      .map((name): HostUse => ({ kind, name, now: useOf(kind, name, roots) }));
  });
}

/**
 * With NVMe's multipath what is below the controller is a way to the disk, and the disk and its
 * parts are among the virtual devices: `nvme0c1n2` leads to `nvme0n2`.
 */
function throughMultipath(through: readonly string[], all: readonly string[]): string[] {
  return through.flatMap((name) => {
    const [, subsystem, namespace] = /^(nvme\d+)c\d+(n\d+)$/.exec(name) ?? [];
    if (subsystem === undefined || namespace === undefined) return [name];
    const disk = `${subsystem}${namespace}`;
    const parts = all.filter((each) => each === disk || each.startsWith(`${disk}p`));
    return parts.length > 0 ? parts : [name];
  });
}

/** What is no link, such as the file `bonding_masters` among the interfaces, leads nowhere. */
function leadsThrough(link: string, address: string): boolean {
  try {
    return readLinkText(link)?.split('/').includes(address) === true;
  } catch (error) {
    if (error instanceof VfioError && error.code === 'EINVAL') return false;
    throw error;
  }
}

function useOf(kind: (typeof kinds)[number], name: string, roots: UseRoots): string | null {
  const folder = `${roots.sysfsRoot}/class/${kind}/${name}`;
  if (kind === 'net') return isUp(folder) ? 'up' : null;
  if (kind === 'drm') return null;
  const place = mountOf(name, readAttribute(`${folder}/dev`) ?? '', roots);
  if (place !== undefined) return `mounted at ${place}`;
  const [holder] = listNames(`${folder}/holders`) ?? [];
  if (holder !== undefined) return `used by ${holder}`;
  if (isSwap(name, roots)) return 'swapped to';
  const loop = loopOver(name, roots);
  return loop === undefined ? null : `used by ${loop}`;
}

const IFF_UP = 1;

/**
 * Drivers that do not tell of their link leave its state unknown: then it is up where it was
 * switched on.
 */
function isUp(folder: string): boolean {
  const state = readAttribute(`${folder}/operstate`);
  if (state !== 'unknown') return state === 'up';
  return (Number(readAttribute(`${folder}/flags`) ?? 0) & IFF_UP) !== 0;
}

/**
 * Where a file system on a block device is mounted, in this mount namespace: by its numbers, or by
 * its name where the file system has numbers of its own.
 */
function mountOf(name: string, numbers: string, roots: UseRoots): string | undefined {
  const isIts = (mount: Mount): boolean =>
    mount.numbers === numbers || mount.source === `/dev/${name}`;
  return mountsIn(roots).find(isIts)?.place;
}

function isSwap(name: string, { procRoot = '/proc' }: UseRoots): boolean {
  return linesOf(`${procRoot}/swaps`).some((line) => line.startsWith(`/dev/${name} `));
}

/** A loop device is no holder of the disk that it is set up over. */
function loopOver(name: string, { sysfsRoot }: UseRoots): string | undefined {
  const folder = `${sysfsRoot}/class/block`;
  const loops = (listNames(folder) ?? []).filter((each) => /^loop\d+$/.test(each));
  return loops.find(
    (loop) => readAttribute(`${folder}/${loop}/loop/backing_file`) === `/dev/${name}`,
  );
}
