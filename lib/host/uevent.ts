import { canonicalOn } from '../locate/address.ts';

/** What the kernel says happened: a word of `kobject_actions`. */
export type UeventAction =
  'add' | 'remove' | 'change' | 'move' | 'online' | 'offline' | 'bind' | 'unbind';

const actions: readonly UeventAction[] = [
  ...(['add', 'remove', 'change', 'move'] as const),
  ...(['online', 'offline', 'bind', 'unbind'] as const),
];

/** A message of the kernel (lib/kobject_uevent.c), as far as it is understood. */
export interface Uevent {
  action: UeventAction;
  /** The object's folder, below where sysfs is mounted. */
  devpath: string;
  subsystem: string;
  seqnum: number;
  /** All of its lines, by their names: those of the subsystem too. */
  values: ReadonlyMap<string, string>;
}

/** The kernel's have 2 KiB and a path. */
export const mostBytes = 16_384;

/**
 * Reads `ACTION@DEVPATH`, then `KEY=value`, each with a NUL behind it. Undefined for what is none
 * of the kernel's, such as what udevd sends on, and for an action that is not known here.
 */
export function parseUevent(bytes: Uint8Array): Uevent | undefined {
  if (bytes.length > mostBytes) return undefined;
  const [head = '', ...lines] = Buffer.from(bytes).toString('utf8').split('\0');
  const values = valuesIn(lines);
  const action = actions.find((one) => one === values.get('ACTION'));
  const devpath = values.get('DEVPATH') ?? '';
  const subsystem = values.get('SUBSYSTEM') ?? '';
  const seqnum = values.get('SEQNUM') ?? '';
  if (action === undefined || head !== `${action}@${devpath}` || !isPlain(devpath))
    return undefined;
  if (subsystem === '' || !/^\d{1,15}$/.test(seqnum)) return undefined;
  return { action, devpath, subsystem, seqnum: Number(seqnum), values };
}

/** The first of a name counts, as in the kernel's own environment for helpers. */
function valuesIn(lines: readonly string[]): Map<string, string> {
  const values = new Map<string, string>();
  for (const line of lines) {
    const at = line.indexOf('=');
    const key = line.slice(0, at);
    if (at > 0 && !values.has(key)) values.set(key, line.slice(at + 1));
  }
  return values;
}

/** A path that leads nowhere else: it is looked up in sysfs. */
function isPlain(path: string): boolean {
  return /^(?:\/(?!\.{1,2}(?:\/|$))[^/]+)+$/.test(path);
}

/** A device's node, as its message names it. */
export interface UeventNode {
  name: string;
  major: number;
  minor: number;
}

/** `DEVNAME=vfio/devices/vfio0`, `MAJOR=511`, `MINOR=0`; undefined where there is no node. */
export function nodeIn({ values }: Uevent): UeventNode | undefined {
  const name = values.get('DEVNAME');
  const [major, minor] = [values.get('MAJOR') ?? '', values.get('MINOR') ?? ''];
  if (name === undefined || !isPlain(`/${name}`) || !isNumber(major) || !isNumber(minor)) {
    return undefined;
  }
  return { name, major: Number(major), minor: Number(minor) };
}

function isNumber(text: string): boolean {
  return /^\d{1,9}$/.test(text);
}

/** Buses on which VFIO has drivers for devices. */
const buses: readonly string[] = ['pci', 'mdev', 'platform', 'amba', 'fsl-mc', 'cdx', 'ap', 'css'];

/** Where an object is: a device on a bus, a driver of a bus, or what VFIO made for a device. */
export interface UeventPlace {
  bus: string | undefined;
  address: string | undefined;
  driver: string | undefined;
}

/** Undefined of what is no device or driver of such a bus, and no node of VFIO's. */
export function placeOf({ subsystem, devpath, values }: Uevent): UeventPlace | undefined {
  const parts = devpath.split('/');
  const [last, parent, owner] = [parts.at(-1), parts.at(-2), parts.at(-3)];
  const driver = values.get('DRIVER');
  if (isBus(subsystem)) return { bus: subsystem, address: last, driver };
  if (subsystem === 'vfio-dev') return { bus: busOf(owner), address: owner, driver };
  if (subsystem === 'vfio') return { bus: undefined, address: undefined, driver };
  if (subsystem !== 'drivers' || parent !== 'drivers' || !isBus(owner)) return undefined;
  return { bus: owner, address: undefined, driver: last };
}

function isBus(name: string | undefined): boolean {
  return buses.some((bus) => bus === name);
}

/**
 * By the form of the address, since the device may be gone from sysfs; undefined for another form.
 */
function busOf(address: string | undefined): string | undefined {
  return ['pci', 'mdev'].find(
    (bus) => address !== undefined && canonicalOn(bus, address) === address,
  );
}
