import { invalidType, outOfRange } from '../core/arguments.ts';
import { fs } from '../core/builtins.ts';
import { explained, VfioError } from '../core/errors.ts';
import type { SysfsDevice } from '../core/location.ts';
import { shown } from '../core/shown.ts';
import type { DeviceInfo, RegionInfo } from '../info/decode.ts';

/** The regions of every PCI device, as vfio-pci numbers them. */
export type PciRegionName =
  'bar0' | 'bar1' | 'bar2' | 'bar3' | 'bar4' | 'bar5' | 'rom' | 'config' | 'vga';

/**
 * What names a region: its name in `device.info.regions`, its index there, or the type and subtype
 * of a device-specific one (linux/vfio.h, VFIO_REGION_TYPE_…).
 */
export type RegionSpec = PciRegionName | (string & {}) | number | { type: number; subtype: number };

const expected =
  "a region's name such as 'bar0' or 'config', its index, or { type, subtype } of a device's own";

/**
 * The region that `spec` means.
 *
 * @throws TypeError `ERR_INVALID_ARG_TYPE`; RangeError `ERR_OUT_OF_RANGE`
 * @throws VfioError `ERR_VFIO_NO_REGION`
 */
export function findRegion(
  { regions }: Pick<DeviceInfo, 'regions'>,
  spec: RegionSpec,
  device: SysfsDevice,
): RegionInfo {
  const { address, sysfsPath } = device;
  const region = regions.find(matcher(spec));
  if (region !== undefined && region.size > 0) return region;
  const has = regions.filter(({ size }) => size > 0).map(({ name }) => name);
  const error = new VfioError({
    code: 'ERR_VFIO_NO_REGION',
    message: `${address} has no region ${describe(spec)}; it has ${has.join(', ') || 'none'}`,
    device: address,
  });
  if (region?.name !== 'rom' || !fs.existsSync(`${sysfsPath}/rom`)) throw error;
  throw explained(error, { reason: 'rom-unreadable', certainty: 'likely', facts: { address } });
}

function matcher(spec: unknown): (region: RegionInfo) => boolean {
  if (typeof spec === 'string') return ({ name }) => name === spec;
  if (typeof spec === 'number') {
    if (!Number.isInteger(spec) || spec < 0) throw outOfRange('region', expected, spec);
    return ({ index }) => index === spec;
  }
  if (typeof spec !== 'object' || spec === null) throw invalidType('region', expected, spec);
  const { type, subtype } = spec as { type?: unknown; subtype?: unknown };
  checkType('region.type', type);
  checkType('region.subtype', subtype);
  return ({ capabilities }) =>
    capabilities.some((one) => one.kind === 'type' && one.type === type && one.subtype === subtype);
}

function checkType(name: string, type: unknown): void {
  const wanted = 'a whole number from 0 to 0xffffffff';
  if (typeof type !== 'number') throw invalidType(name, wanted, type);
  if (type >>> 0 !== type) throw outOfRange(name, wanted, type);
}

function describe(spec: RegionSpec): string {
  if (typeof spec === 'string') return shown(spec);
  if (typeof spec === 'number') return `${spec}`;
  return `of type 0x${spec.type.toString(16)}, subtype 0x${spec.subtype.toString(16)}`;
}
