import type { RegionInfo } from '../info/decode.ts';
import type { MsixTable } from '../pci/capabilities.ts';
import type { RegionOwner } from './owner.ts';

/** Bytes from `offset` on. */
export interface Area {
  offset: number;
  size: number;
}

/** What must be known of a region's device to say what of the region may be mapped. */
export interface MappingFacts {
  /** The BAR holds I/O ports. */
  isIoPorts: boolean;
  /** The device's MSI-X table, where it lies in this region. */
  table: MsixTable | undefined;
  pageSize: number;
}

/** The areas of the region that its sparse-mmap capability lists; all of it where it has none. */
export function mappableAreas({ size, capabilities }: RegionInfo): Area[] {
  const sparse = capabilities.find((one) => one.kind === 'sparse-mmap');
  if (sparse?.kind !== 'sparse-mmap') return [{ offset: 0, size }];
  return sparse.areas.filter((area) => area.size > 0);
}

/** Why an area of a region may not be mapped, in words; undefined where it may. */
export function whyNotMappable(
  region: RegionInfo,
  area: Area,
  { isIoPorts, table, pageSize }: MappingFacts,
): string | undefined {
  if (isIoPorts) return 'it holds I/O ports, which are no memory; read and write reach them';
  if (!region.flags.includes('mmap')) return 'the kernel lets nothing of it be mapped';
  const areas = mappableAreas(region);
  if (!areas.some((one) => contains(one, area))) {
    return `the kernel lets only these parts be mapped: ${areas.map(text).join(', ') || 'none'}`;
  }
  const isOpen = region.capabilities.some(({ kind }) => kind === 'msix-mappable');
  if (table === undefined || isOpen) return undefined;
  // What is mapped is whole pages.
  const start = area.offset - (area.offset % pageSize);
  const end = Math.ceil((area.offset + area.size) / pageSize) * pageSize;
  if (end <= table.start || start >= table.end) return undefined;
  const taken = text({ offset: table.start, size: table.end - table.start });
  return `the MSI-X table is in the same pages (${taken}), and this kernel does not let it be mapped`;
}

/** The part of a mapped area that nobody may write, counted from the area's start. */
export function readOnlyPart(
  { flags }: RegionInfo,
  { offset, size }: Area,
  table: MsixTable | undefined,
): { start: number; end: number } {
  if (!flags.includes('write')) return { start: 0, end: size };
  if (table === undefined) return { start: 0, end: 0 };
  const start = Math.max(0, table.start - offset);
  const end = Math.min(size, table.end - offset);
  return start < end ? { start, end } : { start: 0, end: 0 };
}

function contains(outer: Area, inner: Area): boolean {
  return inner.offset >= outer.offset && inner.offset + inner.size <= outer.offset + outer.size;
}

function text({ offset, size }: Area): string {
  return `0x${offset.toString(16)}+0x${size.toString(16)}`;
}

/** What a mapping is of. @internal */
export interface MappedArea extends Area {
  owner: Pick<RegionOwner, 'fd' | 'location' | 'mappings'>;
  /** The region's name. */
  name: string;
  readOnly: { start: number; end: number };
  /** Where the region is in the device's descriptor, the kernel's number in two halves. */
  high: number;
  low: number;
}
