import { fs } from '../core/builtins.ts';
import type { Roots } from '../core/location.ts';
import type { HostUse } from '../core/reasons.ts';
import {
  hiddenFolder,
  listNames,
  readAttribute,
  readLinkText,
  undefinedIfMissing,
} from '../locate/sysfs.ts';

const kinds = ['block', 'net', 'drm'] as const;

/** By the base class of a PCI device: what its driver makes of it. */
const kindOfClass: Readonly<Record<string, HostUse['kind']>> = {
  '0x01': 'block',
  '0x02': 'net',
  '0x03': 'drm',
};

/** What is told of a device that has a driver of the host. */
export interface DeviceUses {
  uses?: HostUse[];
  unseen?: HostUse['kind'][];
}

/**
 * What the host has of a device, and what of it cannot be seen: all, where sysfs hides its classes, and what a
 * device of its PCI class has, where none is shown. An interface may be in another network namespace.
 */
export function deviceUses(
  address: string,
  classCode: string | undefined,
  roots: Pick<Roots, 'sysfsRoot'>,
): DeviceUses {
  if (hiddenFolder(`${roots.sysfsRoot}/class`)) return { unseen: [...kinds] };
  const uses = hostUses(address, roots);
  const kind = kindOfClass[classCode?.slice(0, 4) ?? ''];
  const isUnseen = kind !== undefined && !uses.some((use) => use.kind === kind);
  return { ...(uses.length > 0 && { uses }), ...(isUnseen && { unseen: [kind] }) };
}

/**
 * What the host has of a device, or of what is behind it: it would lose it with the device. Each is a
 * link in its class that leads through the device's folder, or a disk to which such a one is a way.
 */
function hostUses(address: string, { sysfsRoot }: Pick<Roots, 'sysfsRoot'>): HostUse[] {
  return kinds.flatMap((kind) => {
    const folder = `${sysfsRoot}/class/${kind}`;
    const all = listNames(folder) ?? [];
    const through = all.filter((name) => leadsThrough(`${folder}/${name}`, address));
    return (kind === 'block' ? throughMultipath(through, all) : through)
      .filter((name) => kind !== 'drm' || /^card\d+$/.test(name))
      .sort()
      .map((name): HostUse => ({ kind, name, now: useOf(kind, name, `${folder}/${name}`) }));
  });
}

/**
 * With NVMe's multipath what is below the controller is a way to the disk, and the disk and its parts are
 * among the virtual devices: `nvme0c1n2` leads to `nvme0n2`.
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

function leadsThrough(link: string, address: string): boolean {
  return readLinkText(link)?.split('/').includes(address) === true;
}

function useOf(kind: HostUse['kind'], name: string, folder: string): string | null {
  if (kind === 'net') return isUp(folder) ? 'up' : null;
  if (kind === 'drm') return null;
  const place = mountOf(name, readAttribute(`${folder}/dev`) ?? '');
  if (place !== undefined) return `mounted at ${place}`;
  const [holder] = listNames(`${folder}/holders`) ?? [];
  if (holder !== undefined) return `used by ${holder}`;
  return isSwap(name) ? 'swapped to' : null;
}

const IFF_UP = 1;

/** Drivers that do not tell of their link leave its state unknown: then it is up where it was switched on. */
function isUp(folder: string): boolean {
  const state = readAttribute(`${folder}/operstate`);
  if (state !== 'unknown') return state === 'up';
  return (Number(readAttribute(`${folder}/flags`) ?? 0) & IFF_UP) !== 0;
}

/**
 * Where a file system on a block device is mounted, in this mount namespace: by its numbers, or by its name
 * where the file system has numbers of its own.
 */
function mountOf(name: string, numbers: string): string | undefined {
  for (const line of linesOf('/proc/self/mountinfo')) {
    const [mount = '', source = ''] = line.split(' - ');
    const [, , device, , place] = mount.split(' ');
    if (device === numbers || source.split(' ')[1] === `/dev/${name}`) return place;
  }
  return undefined;
}

function isSwap(name: string): boolean {
  return linesOf('/proc/swaps').some((line) => line.startsWith(`/dev/${name} `));
}

/** Of a file that is longer than what the addon reads of those of sysfs. */
function linesOf(path: string): string[] {
  const text = undefinedIfMissing('open', path, () => fs.readFileSync(path, 'utf8'));
  return text?.split('\n') ?? [];
}
