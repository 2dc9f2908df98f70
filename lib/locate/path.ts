import { invalidValue } from '../core/arguments.ts';
import type { DeviceAddress, Roots } from '../core/location.ts';
import { expectedSpec, parseAddress } from './address.ts';
import { listNames } from './sysfs.ts';

/** What a path means: an address, or what only sysfs (a folder) or the node's numbers tell. */
export type ParsedPath = DeviceAddress | { folder: string } | { node: string };

/** Whether this is a kernel's name for a cdev: `vfio0`; `noiommu-vfio0` without an IOMMU. */
export function isCdevName(name: string): boolean {
  return /^(?:noiommu-)?vfio\d+$/.test(name);
}

/**
 * `vfio-dev` is the kernel's name for a device's folder of cdevs; `vfio` was that of the first
 * drafts.
 */
export const cdevFolders = ['vfio-dev', 'vfio'] as const;

/** The numbers in a cdev's `dev` file, `511:3`; undefined for another text. */
export function parseNumbers(text: string): { major: number; minor: number } | undefined {
  const found = /^(\d{1,9}):(\d{1,9})$/.exec(text);
  return found === null ? undefined : { major: Number(found[1]), minor: Number(found[2]) };
}

/** The numbers of a device's node, as its `uevent` has them. */
export function numbersInUevent(text: string): { major: number; minor: number } | undefined {
  const found = /^MAJOR=(\d+)\nMINOR=(\d+)$/m.exec(text);
  return found === null ? undefined : parseNumbers(`${found[1]}:${found[2]}`);
}

const nodeBelowDev = /^\/(?:vfio\/devices\/(?:noiommu-)?vfio\d+|char\/\d+:\d+)$/;

/**
 * Reads a path that names a device, without looking it up. It must lie below one of the roots; of
 * the node of a group the error says which devices are in it.
 *
 * @throws TypeError `ERR_INVALID_ARG_VALUE`
 */
export function parsePath(text: string, { sysfsRoot, devRoot }: Roots): ParsedPath {
  const path = canonicalPath(text);
  if (path.startsWith(`${sysfsRoot}/`)) {
    const [, top, bus, devices, address, ...more] = path.slice(sysfsRoot.length).split('/');
    const isPlain = top === 'bus' && devices === 'devices' && more.length === 0;
    return isPlain && bus && address ? parseAddress({ bus, address }) : { folder: path };
  }
  const isNode = path.startsWith(devRoot) && nodeBelowDev.test(path.slice(devRoot.length));
  if (isNode) return { node: path };
  const group = nodeOfGroup.exec(path.startsWith(devRoot) ? path.slice(devRoot.length) : '')?.[1];
  if (group !== undefined) throw invalidValue('device', expectedOf(path, group, sysfsRoot), text);
  const below = `${expectedSpec}; a path must lie below ${sysfsRoot} or be a node in ${devRoot}`;
  throw invalidValue('device', below, text);
}

/** A group may have several devices, and is none. */
const nodeOfGroup = /^\/vfio\/(?:noiommu-)?(\d+)$/;

/** What there is to choose from where the node of a group was given. */
function expectedOf(path: string, group: string, sysfsRoot: string): string {
  const devices = listNames(`${sysfsRoot}/kernel/iommu_groups/${group}/devices`) ?? [];
  const named = devices.length > 0 ? devices.sort().join(', ') : 'no device to be seen here';
  return `a device: ${path} is the node of the IOMMU group ${group}, in which there is ${named}`;
}

/** Without doubled slashes and the one that completion adds at the end. */
function canonicalPath(text: string): string {
  const parts = text.split('/').filter((part) => part !== '');
  const isTricky = text.includes('\0') || parts.includes('..') || parts.includes('.');
  if (isTricky) throw invalidValue('device', "a path without '.', '..' and NUL", text);
  return `/${parts.join('/')}`;
}
