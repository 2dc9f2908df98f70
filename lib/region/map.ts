import { binding, type NativeMapping } from '../core/binding.ts';
import { check } from '../core/call.ts';
import { VfioError } from '../core/errors.ts';
import type { RegionInfo } from '../info/decode.ts';
import { msixTable } from '../pci/capabilities.ts';
import { responds } from '../pci/header.ts';
import { conventionalSize, viewOf } from '../pci/walk.ts';
import { noAnswerError } from './access_errors.ts';
import { checkLength, checkRange } from './checks.ts';
import { type Area, mappableAreas, readOnlyPart, whyNotMappable } from './mappable.ts';
import { MappedRegion } from './mapped_region.ts';
import { placeOf, readBytes, type RegionPlace } from './transfer.ts';

/** Which part of a region to map. */
export interface RegionMapOptions {
  /**
   * Where the part starts; 0 by default. It need not be a multiple of the page size. Accesses are
   * aligned in the region, wherever the part starts.
   */
  offset?: number | undefined;
  /** Bytes; up to the region's end by default. */
  size?: number | undefined;
}

/** Maps a part of a region, if that may be. Throws as `Region.map` says. */
export function mapRegion(
  place: RegionPlace,
  info: RegionInfo,
  options: RegionMapOptions,
): MappedRegion {
  const { owner, high, low } = place;
  const area = chooseArea(info, options);
  const { isIoPorts, table } = readConfig(place, info);
  const native = binding();
  const why = whyNotMappable(info, area, { isIoPorts, table, pageSize: native.pageSize() });
  const { path, device } = owner.location;
  const call = { syscall: 'mmap', device: device.address, region: info.name, path };
  if (why !== undefined) {
    const message = `${info.name} of ${device.address} cannot be mapped: ${why}`;
    throw new VfioError({ ...call, code: 'ERR_VFIO_NOT_MAPPABLE', message, syscall: undefined });
  }
  const readOnly = readOnlyPart(info, area, table);
  const { start, end } = readOnly;
  const answer = native.map(owner.fd.native, high, low, area.offset, area.size, start, end);
  const handle = check(answer, call) as NativeMapping;
  return MappedRegion.adopt({ ...area, owner, name: info.name, readOnly, high, low }, handle);
}

/** The part that is wanted; where nothing is said and one area alone may be mapped, that one. */
function chooseArea(info: RegionInfo, options: RegionMapOptions): Area {
  const { offset = 0, size } = options;
  if (options.offset === undefined && size === undefined) {
    const [first, ...others] = mappableAreas(info);
    return first === undefined || others.length > 0 ? { offset, size: info.size } : first;
  }
  if (size !== undefined) checkLength('size', size, 1, info.size);
  checkRange(offset, size ?? 1, info.size);
  return { offset, size: size ?? info.size - offset };
}

const BARS = 6;
const BAR0 = 0x10;
const BAR_IS_IO = 1;

/** What the configuration space says of a BAR. */
function readConfig(
  { owner }: RegionPlace,
  { index, name }: RegionInfo,
): { isIoPorts: boolean; table: ReturnType<typeof msixTable> } {
  if (owner.config === undefined || index >= BARS || !name.startsWith('bar')) {
    return { isIoPorts: false, table: undefined };
  }
  const length = Math.min(owner.config.size, conventionalSize);
  const bytes = readBytes(placeOf(owner, owner.config), 0, new Uint8Array(length));
  // A device that does not answer does not say where its MSI-X table is.
  if (!responds(bytes)) throw noAnswerError(owner.location.device);
  const bar = viewOf(bytes).getUint32(BAR0 + index * 4, true);
  const table = msixTable(bytes);
  return {
    isIoPorts: (bar & BAR_IS_IO) !== 0,
    table: table?.bar === index ? table : undefined,
  };
}
