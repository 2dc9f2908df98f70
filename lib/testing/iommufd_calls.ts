import type { NativeFd, NativeMemory } from '../core/binding.ts';
import { EBADF, EINVAL, ENOENT, ENOTTY, EOPNOTSUPP, EPERM } from '../core/errno.ts';
import { errnoOfSteps } from '../core/call.ts';
import type { Fakes } from './calls.ts';
import { AddressPages, BufferPages, type DmaPages } from './dma_pages.ts';
import { errnoOf } from './errno.ts';
import { type IoSpace, mapFlags } from './io_space.ts';
import type { Machine } from './machine.ts';

/** The ioctls of an iommufd. */
export function iommufdCalls(machine: Machine): Fakes {
  const { native } = machine;
  const inSpace = <T>(fd: unknown, id: number, act: (space: IoSpace) => T): T | number => {
    const iommufd = machine.iommufd(fd);
    if (iommufd === undefined) return ENOTTY;
    const space = iommufd.space(id);
    return space === undefined ? ENOENT : act(space);
  };
  const mapPages = (
    [fd, ioas, flags]: [NativeFd, number, number],
    pages: DmaPages | number,
    length: bigint,
    iova: bigint,
  ): bigint | number => {
    if (typeof pages === 'number') return pages;
    pages.writable = (flags & mapFlags.writeable) !== 0;
    return inSpace(fd, ioas, (space) => space.map(flags, pages, length, iova));
  };
  const ofMemory = (memory: NativeMemory, offset: bigint, length: bigint): DmaPages | number =>
    BufferPages.of(native, memory, offset, length);
  return {
    iommufdProbe: (_fd, request) => (knownRequests.has(request) ? EINVAL : ENOTTY),
    ioasAlloc: (fd) => machine.iommufd(fd)?.allocSpace() ?? ENOTTY,
    ioasIovaRanges: (fd, id, room) =>
      inSpace(fd, id, (space) => {
        const ranges = space.ranges();
        const words = [space.alignment, ...ranges.flatMap(({ start, last }) => [start, last])];
        room.set(words.slice(0, room.length));
        return ranges.length;
      }),
    ioasAllowIovas: (fd, id, words) =>
      inSpace(fd, id, (space) => {
        const ranges = Array.from({ length: words.length / 2 }, (_, at) => ({
          start: words[2 * at] ?? 0n,
          last: words[2 * at + 1] ?? 0n,
        }));
        return space.allow(ranges);
      }),
    destroySync: (fd, id) => machine.iommufd(fd)?.destroy(id) ?? ENOTTY,
    ioasMapMemorySync: (fd, ioas, flags, memory, offset, length, iova) =>
      mapPages([fd, ioas, flags] as never, ofMemory(memory, offset, length), length, iova),
    ioasMapMemoryFileSync: (fd, ioas, flags, memory, offset, length, iova) =>
      mapPages([fd, ioas, flags] as never, ofMemory(memory, offset, length), length, iova),
    ioasMapFileSync: (fd, ioas, flags, number, offset, length, iova) => {
      const problem = fileProblem(number, offset + length);
      if (problem !== 0) return problem;
      const memory = native.memoryFromFile(number, offset, length);
      if (memory === undefined || memory < 0) return errnoOfSteps(memory ?? EINVAL);
      const pages = ofMemory(memory as NativeMemory, 0n, length);
      native.memoryRelease(memory as NativeMemory);
      return mapPages([fd, ioas, flags], pages, length, iova);
    },
    ioasMapSync: (fd, ioas, flags, address, length, iova) =>
      mapPages([fd, ioas, flags], new AddressPages(address, length), length, iova),
    ioasCopySync: (fd, ioas, flags, source, sourceIova, length, iova) =>
      inSpace(fd, source, (from) => {
        const found = from.find(sourceIova, length);
        const [first, ...others] = found ?? [];
        // The kernel copies a map, or a part of one.
        if (first === undefined || others.length > 0) return ENOENT;
        const pages = first.pages.from(sourceIova - first.iova);
        if ((flags & mapFlags.writeable) !== 0 && !pages.writable) return EPERM;
        return inSpace(fd, ioas, (space) => space.map(flags, pages, length, iova));
      }),
    ioasUnmapSync: (fd, ioas, iova, length) =>
      inSpace(fd, ioas, (space) => space.unmap(iova, length)),
    iommuOption: (fd, option, operation, object, value) => {
      // IOMMU_OPTION_HUGE_PAGES of an address space, RLIMIT_MODE of the iommufd.
      if (option > 1 || operation > 1) return EOPNOTSUPP;
      if (option === 0) return rlimitMode(machine, fd, operation, value);
      return inSpace<bigint | number>(fd, object, (space) => {
        if (operation === 0) space.hugePages = value === 1n;
        return operation === 0 ? 0n : BigInt(space.hugePages);
      });
    },
    getHwInfo: (fd, device, type, out, data) => {
      if (machine.iommufd(fd)?.hasDevice(device) !== true) return ENOENT;
      if (type !== undefined && BigInt(type) !== intelVtd) return EOPNOTSUPP;
      out.set([machine.limits.canTrack ? dirtyCapability : 0n, intelVtd, 0n]);
      data.fill(0n);
      return vtdBytes;
    },
    // Tables of a guest, which have data of their own, are none that this IOMMU can nest.
    hwptAllocSync: (fd, device, parent, flags, _faultQueue, dataType) => {
      const iommufd = machine.iommufd(fd);
      if (iommufd === undefined) return ENOTTY;
      return dataType === 0 ? iommufd.allocTable(device, parent, flags) : EOPNOTSUPP;
    },
    hwptSetDirtyTrackingSync: (fd, hwpt, flags) =>
      machine.iommufd(fd)?.trackDirty(hwpt, flags === 1) ?? ENOTTY,
    hwptGetDirtyBitmapSync: (fd, hwpt, flags, iova, length, pageSize, words) =>
      machine.iommufd(fd)?.dirtyBitmap(hwpt, { iova, length, pageSize, words }, flags === 0) ??
      ENOTTY,
    faultQueueAlloc: () => EOPNOTSUPP,
    ioasPhysicalAddress: () => EOPNOTSUPP,
    compatIoas: () => errnoOf('ENODEV'),
    ioasChangeProcessSync: () => 0,
  };
}

/** IOMMU_HW_INFO_TYPE_INTEL_VTD, and the bytes of its struct. */
const intelVtd = 1n;
const vtdBytes = 24;
/** IOMMU_HW_CAP_DIRTY_TRACKING */
const dirtyCapability = 1n;

/** TMPFS_MAGIC and HUGETLBFS_MAGIC: files whose pages the kernel pins. */
const pinnable = new Set([0x0102_1994, 0x9584_58f6]);

/** 0, or why the kernel would not map the file up to there. */
function fileProblem(number: number, end: bigint): number {
  const fs = process.getBuiltinModule('node:fs');
  try {
    if (!pinnable.has(fs.statfsSync(`/proc/self/fd/${number}`).type)) return EINVAL;
    return fs.fstatSync(number, { bigint: true }).size < end ? EINVAL : 0;
  } catch {
    return EBADF;
  }
}

/** IOMMU_DESTROY to IOMMU_IOAS_MAP_FILE, and IOMMU_IOAS_CHANGE_PROCESS. */
const knownRequests = new Set([...Array.from({ length: 16 }, (_, at) => 0x3b80 + at), 0x3b92]);

function rlimitMode(
  machine: Machine,
  fd: unknown,
  operation: number,
  value: bigint,
): bigint | number {
  const iommufd = machine.iommufd(fd);
  if (iommufd === undefined) return ENOTTY;
  if (operation === 1) return iommufd.rlimitMode;
  if (!iommufd.isEmpty) return errnoOf('EBUSY');
  iommufd.rlimitMode = value;
  return 0n;
}
