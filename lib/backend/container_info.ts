import { lastIova } from '../core/iova.ts';
import { littleEndian, requireBytes, walkCapabilities } from '../core/structs.ts';
import type { Bounds } from '../diagnose/map_causes.ts';

/** What a type1 container says of its address space. */
export interface ContainerInfo extends Bounds {
  /** How many maps more it takes; undefined where the kernel does not say. */
  available: number | undefined;
  /** The sizes of its pages, ascending. */
  pageSizes: bigint[];
  /** The page that dirty tracking tells of; undefined where the kernel, before 5.8, has none. */
  dirtyPageSize: bigint | undefined;
}

/** struct vfio_iommu_type1_info */
export const containerInfoSize = 24;

const VFIO_IOMMU_INFO_PGSIZES = 1;
const VFIO_IOMMU_INFO_CAPS = 2;

const IOVA_RANGE = 1;
const MIGRATION = 2;
const DMA_AVAIL = 3;

/** The struct and the capabilities that follow it. Kernels before 5.4 tell no ranges. */
export function decodeContainerInfo(view: DataView): ContainerInfo {
  const flags = view.getUint32(4, littleEndian);
  const sizes = flags & VFIO_IOMMU_INFO_PGSIZES ? view.getBigUint64(8, littleEndian) : 4096n;
  const first = flags & VFIO_IOMMU_INFO_CAPS ? view.getUint32(16, littleEndian) : 0;
  const pageSizes = bitsOf(sizes);
  const info: ContainerInfo = {
    alignment: pageSizes[0] ?? 4096n,
    pageSizes,
    ranges: [{ start: 0n, last: lastIova }],
    available: undefined,
    dirtyPageSize: undefined,
  };
  for (const { id, data } of walkCapabilities(view, first)) {
    const body = new DataView(data.buffer, data.byteOffset, data.byteLength);
    if (id === IOVA_RANGE) info.ranges = decodeRanges(body);
    if (id === MIGRATION) {
      // struct vfio_iommu_type1_info_cap_migration: flags, and padding, before it
      requireBytes(body, 8, 8);
      info.dirtyPageSize = bitsOf(body.getBigUint64(8, littleEndian))[0];
    }
    if (id === DMA_AVAIL) {
      requireBytes(body, 0, 4);
      info.available = body.getUint32(0, littleEndian);
    }
  }
  return info;
}

/**
 * struct vfio_iommu_type1_info_cap_iova_range: `{u32 count; u32 reserved; {u64 start; u64 end}[]}`
 */
function decodeRanges(body: DataView): Bounds['ranges'] {
  requireBytes(body, 0, 8);
  const count = body.getUint32(0, littleEndian);
  requireBytes(body, 8, 16 * count);
  return Array.from({ length: count }, (_, at) => ({
    start: body.getBigUint64(8 + 16 * at, littleEndian),
    last: body.getBigUint64(16 + 16 * at, littleEndian),
  }));
}

function bitsOf(mask: bigint): bigint[] {
  return Array.from({ length: 64 }, (_, at) => 1n << BigInt(at)).filter((bit) => mask & bit);
}
