import type { VfioError } from '../core/errors.ts';
import type { Cause, IovaBounds, IovaExtent, ReservedOverlap, VfioFacts } from '../core/reasons.ts';
import { processStatus } from '../locate/process_status.ts';
import { readAttribute } from '../locate/sysfs.ts';

/** What an address space says of itself, asked only after a failure. */
export interface Bounds {
  alignment: bigint;
  ranges: IovaBounds[];
}

/** A map that was refused. */
export interface RefusedMap extends IovaExtent {
  /** Whether the caller chose the address. */
  fixed: boolean;
  /** Where the memory begins, in its file or in this process. */
  offset: bigint;
  what: string;
  /** What this program mapped in the same address space. */
  mapped: IovaExtent[];
  bounds: () => Bounds;
  /** How many maps more the kernel takes; undefined where it has no limit. */
  available: () => number | undefined;
}

/**
 * Why IOMMU_IOAS_MAP, MAP_FILE or COPY was refused (drivers/iommu/iommufd/ioas.c, io_pagetable.c).
 */
export function mapCause({ code, request }: VfioError, map: RefusedMap): Cause | undefined {
  const { iova, length, what } = map;
  if (code === 'EEXIST') {
    const mapped = overlapping(map.mapped, { iova, length });
    return { reason: 'iova-mapped', certainty: 'certain', facts: { iova, length, mapped } };
  }
  if (code === 'EINVAL') return refusedPlace(map);
  if (code === 'ENOSPC' && map.available() === 0) {
    const parameter = '/sys/module/vfio_iommu_type1/parameters/dma_entry_limit';
    return { reason: 'too-many-maps', certainty: 'certain', facts: { parameter } };
  }
  if (code === 'ENOSPC') {
    const facts = { length, ranges: map.bounds().ranges };
    return { reason: 'iova-exhausted', certainty: 'certain', facts };
  }
  if (code === 'EFAULT') {
    return { reason: 'memory-not-pinnable', certainty: 'certain', facts: { what, length } };
  }
  const counted = request === 'VFIO_IOMMU_MAP_DMA' ? 'process' : 'user';
  return code === 'ENOMEM' ? memlockCause(length, counted) : undefined;
}

function refusedPlace(map: RefusedMap): Cause | undefined {
  const { iova, length, offset, fixed, what } = map;
  const { alignment, ranges } = map.bounds();
  const numbers = fixed ? [iova, length, offset] : [length, offset];
  if (numbers.some((number) => number % alignment !== 0n)) {
    return { reason: 'iova-misaligned', certainty: 'certain', facts: { iova, length, alignment } };
  }
  const last = iova + length - 1n;
  if (fixed && !ranges.some((range) => range.start <= iova && last <= range.last)) {
    return { reason: 'iova-not-allowed', certainty: 'certain', facts: { iova, length, ranges } };
  }
  // So IOMMU_IOAS_MAP_FILE refuses what is no memfd and the like.
  if (what !== 'file') return undefined;
  return { reason: 'memory-not-pinnable', certainty: 'likely', facts: { what, length } };
}

/** Why IOMMU_IOAS_UNMAP was refused. */
export function unmapCause(
  { code }: VfioError,
  range: IovaExtent,
  mapped: IovaExtent[],
): Cause | undefined {
  if (code !== 'ENOENT') return undefined;
  const facts = { ...extentOf(range), cut: overlapping(mapped, range) };
  return { reason: 'not-mapped', certainty: 'certain', facts };
}

/** What a device is attached to. */
export interface AttachedSpace {
  /** What this program mapped there. */
  mapped: IovaExtent[];
  /** Those of it that no attached device has pinned yet. */
  unpinned: IovaExtent[];
}

/** Why VFIO_DEVICE_ATTACH_IOMMUFD_PT was refused on account of what was mapped before. */
export function attachCause(
  { code }: VfioError,
  device: { address: string; sysfsPath: string },
  { mapped, unpinned }: AttachedSpace,
): Cause | undefined {
  if (code === 'EADDRINUSE') return reservedCause(device, mapped);
  if (code === 'ENOMEM')
    return memlockCause(
      unpinned.reduce((sum, { length }) => sum + length, 0n),
      'user',
    );
  if (code !== 'EFAULT' || unpinned.length === 0) return undefined;
  const certainty = unpinned.length === 1 ? 'certain' : 'likely';
  return { reason: 'maps-not-pinnable', certainty, facts: { maps: unpinned.map(extentOf) } };
}

function reservedCause(
  { address, sysfsPath }: { address: string; sysfsPath: string },
  mapped: IovaExtent[],
): Cause | undefined {
  const regions = parseReserved(readAttribute(`${sysfsPath}/iommu_group/reserved_regions`) ?? '');
  const overlaps = regions.flatMap((reserved): ReservedOverlap[] => {
    const { start, last } = reserved;
    const met = overlapping(mapped, { iova: start, length: last - start + 1n });
    return met.map((extent) => ({ ...extent, reserved }));
  });
  if (overlaps.length === 0) return undefined;
  return { reason: 'iova-reserved', certainty: 'certain', facts: { device: address, overlaps } };
}

/**
 * Lines such as `0x00000000fee00000 0x00000000feefffff msi`; `direct-relaxable` reserves nothing.
 */
function parseReserved(text: string): ReservedOverlap['reserved'][] {
  const lines = text.matchAll(/^(0x[\da-f]+) (0x[\da-f]+) (\S+)$/gm);
  return [...lines]
    .map(([, start = '0', last = '0', type = '']) => ({
      start: BigInt(start),
      last: BigInt(last),
      type,
    }))
    .filter(({ type }) => type !== 'direct-relaxable');
}

function memlockCause(needed: bigint, counted: 'user' | 'process'): Cause | undefined {
  const facts = memlock(needed, counted);
  return facts && { reason: 'memlock-limit', certainty: 'likely', facts };
}

function overlapping(mapped: IovaExtent[], { iova, length }: IovaExtent): IovaExtent[] {
  return mapped
    .filter((each) => each.iova < iova + length && iova < each.iova + each.length)
    .map(extentOf);
}

const extentOf = ({ iova, length }: IovaExtent): IovaExtent => ({ iova, length });

/** CAP_IPC_LOCK, whose owner is not counted. */
const ipcLock = 1n << 14n;

/** The limit on pinned memory and what this process has; nothing where it has no limit. */
function memlock(
  needed: bigint,
  counted: 'user' | 'process',
  proc = '/proc/self',
): VfioFacts['memlock-limit'] | undefined {
  const status = processStatus(`${proc}/status`);
  const capabilities = status?.get('CapEff') ?? '0';
  if ((BigInt(`0x${capabilities}`) & ipcLock) !== 0n) return undefined;
  const limits = readAttribute(`${proc}/limits`) ?? '';
  const limit = /^Max locked memory\s+(\d+)/m.exec(limits)?.[1];
  if (limit === undefined) return undefined;
  // A container's are counted as if they were locked by mlock().
  const line = status?.get(counted === 'user' ? 'VmPin' : 'VmLck') ?? '';
  const pinned = BigInt(/^(\d+) kB$/.exec(line)?.[1] ?? '0') * 1024n;
  // Of a user, others count as well, of whom nothing is known here.
  if (counted === 'process' && pinned + needed <= BigInt(limit)) return undefined;
  return { needed, limit: BigInt(limit), pinned, counted };
}

/**
 * Why memory of huge pages could not be had. The kernel reserves pages when it maps a file of them
 * (ENOMEM), and takes them when they are touched: what is refused then, though it was reserved, is
 * over a limit of the cgroup.
 */
export function hugePageCause(
  { code, syscall }: VfioError,
  { size, pageSize }: { size: number; pageSize?: number | undefined },
  sysfsRoot = '/sys',
): Cause | undefined {
  if (pageSize === undefined) return undefined;
  if (code === 'EFAULT' && syscall === 'madvise') {
    return { reason: 'hugetlb-limit', certainty: 'likely', facts: { size, pageSize } };
  }
  if (code !== 'ENOMEM' || syscall !== 'mmap') return undefined;
  const folder = `${sysfsRoot}/kernel/mm/hugepages/hugepages-${pageSize / 1024}kB`;
  const count = (name: string): number => Number(readAttribute(`${folder}/${name}`));
  const total = count('nr_hugepages');
  const free = count('free_hugepages') - count('resv_hugepages');
  const needed = Math.ceil(size / pageSize);
  if (!(free < needed)) return undefined;
  const facts = { pageSize, needed, free, total, parameter: `${folder}/nr_hugepages` };
  return { reason: 'too-few-huge-pages', certainty: 'certain', facts };
}
