import { invalidType, invalidValue } from '../core/arguments.ts';
import type { DeviceAddress } from '../core/location.ts';

const pciAddress = /^(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}:[01][0-9a-f]\.[0-7])$/;
const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
/** One file name: no path can be built from an address. */
const plainName = /^(?!\.{1,2}$)[^/\p{Cc}]{1,255}$/u;

/** For errors: all that can name a device. */
export const expectedSpec: string =
  "a device address such as '0000:3b:00.0', an mdev's UUID, { bus, address } as in sysfs, a path " +
  'in sysfs, a node such as /dev/vfio/devices/vfio0, or the number of an open descriptor';

/**
 * The address that `spec`, which is no path and no descriptor, means: in sysfs's spelling.
 *
 * @throws TypeError `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE`
 */
export function parseAddress(spec: unknown): DeviceAddress {
  if (typeof spec === 'string') return parseText(spec);
  if (typeof spec !== 'object' || spec === null) throw invalidType('device', expectedSpec, spec);
  // Read once: a getter may answer something else the next time.
  const { bus, address } = spec as Partial<Record<keyof DeviceAddress, unknown>>;
  if (typeof bus !== 'string') throw invalidType('device.bus', 'the name of a bus', bus);
  if (!plainName.test(bus)) throw invalidValue('device.bus', 'the name of a bus', bus);
  const expected = `an address on the bus '${bus}'`;
  if (typeof address !== 'string') throw invalidType('device.address', expected, address);
  const canonical = canonicalOn(bus, address);
  if (canonical === undefined) throw invalidValue('device.address', expected, address);
  return { bus, address: canonical };
}

function parseText(text: string): DeviceAddress {
  const mdev = canonicalUuid(text);
  if (mdev !== undefined) return { bus: 'mdev', address: mdev };
  const pci = canonicalPci(text);
  if (pci === undefined) throw invalidValue('device', expectedSpec, text);
  return { bus: 'pci', address: pci };
}

/** Spells an address as sysfs does on this bus; undefined where it is none. */
export function canonicalOn(bus: string, address: string): string | undefined {
  if (bus === 'pci') return canonicalPci(address);
  if (bus === 'mdev') return canonicalUuid(address);
  return plainName.test(bus) && plainName.test(address) ? address : undefined;
}

function canonicalUuid(text: string): string | undefined {
  const lower = text.toLowerCase();
  return uuid.test(lower) ? lower : undefined;
}

function canonicalPci(text: string): string | undefined {
  const parts = pciAddress.exec(text.toLowerCase());
  if (parts === null) return undefined;
  const [, domain = '0000', place = ''] = parts;
  // The kernel writes four digits, more only where a domain needs them.
  const shortest = domain.replace(/^0{1,4}(?=.{4})/, '');
  return `${shortest}:${place}`;
}
