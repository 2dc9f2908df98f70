import type { NativeFd } from '../core/binding.ts';
import type { Requests } from './request.ts';
import { bitWords, bytesOf, hex, list, quoted, struct, type TraceWords } from './words.ts';

// Requests on an iommufd (linux/iommufd.h), on a container and on a group (linux/vfio.h).

/** enum iommufd_ioas_map_flags */
const mapFlags = { fixed_iova: 1, writeable: 2, readable: 4 };

/** VFIO_DMA_MAP_FLAG_*, VFIO_DMA_UNMAP_FLAG_* */
const containerMapFlags = { read: 1, write: 2 };
const containerUnmapFlags = { get_dirty_bitmap: 1, all: 2 };

/** enum iommufd_hwpt_alloc_flags */
const hwptFlags = { nest_parent: 1, dirty_tracking: 2, fault_id_valid: 4, pasid: 8 };

const groupFlags = { viable: 1, container_set: 2 };

/** IOMMU_OPTION_* and IOMMU_OPTION_OP_* */
const options = ['RLIMIT_MODE', 'HUGE_PAGES'];
const operations = ['SET', 'GET'];

/** IOMMU_VFIO_IOAS_GET and those that follow. */
const compatOperations = ['GET', 'SET', 'CLEAR'];

/** What is asked for without its struct: EINVAL of who knows it, ENOTTY of who does not. */
const probed: Readonly<Record<number, string>> = { 0x3b8f: 'IOMMU_IOAS_MAP_FILE' };

/** VFIO_IOMMU_DIRTY_PAGES_FLAG_* */
const dirtyFlags = { start: 1, stop: 2 };

/** Where a map of an address space goes. */
function target(
  words: TraceWords,
  iommufd: NativeFd,
  ioas: number,
  flags: number,
  length: bigint,
  iova: bigint,
): string[] {
  const fixed = (flags & mapFlags.fixed_iova) !== 0;
  return [
    words.fd(iommufd),
    `ioas ${ioas}`,
    bitWords(flags, mapFlags),
    ...(fixed ? [`iova ${hex(iova)}`] : []),
    `${hex(length)} bytes`,
  ];
}

function iovaWords(_words: TraceWords, value: bigint | number): string {
  return `iova ${hex(value)}`;
}

function bytesWords(_words: TraceWords, value: bigint | number): string {
  return `${hex(value)} bytes`;
}

function extents(longs: BigUint64Array): string {
  const { length } = longs;
  const pairs = Array.from({ length: length / 2 }, (_, at) => {
    return `${hex(longs[2 * at] ?? 0n)}–${hex(longs[2 * at + 1] ?? 0n)}`;
  });
  return list(pairs);
}

function dirtyRange(iova: bigint, length: bigint, pageSize: bigint): string[] {
  return [`iova ${hex(iova)}`, `${hex(length)} bytes`, `pages of ${hex(pageSize)}`];
}

function bitsOf(value: BigUint64Array | number): string {
  return typeof value === 'number' ? String(value) : `${value.length * 64} bits`;
}

export const iommuRequests: Requests = {
  ioasAlloc: {
    name: 'IOMMU_IOAS_ALLOC',
    args: (words, iommufd) => [words.fd(iommufd)],
    answer: (_words, value) => `ioas ${value}`,
  },
  compatIoas: {
    name: 'IOMMU_VFIO_IOAS',
    args: (words, iommufd, operation, ioas) => [
      words.fd(iommufd),
      compatOperations[operation] ?? String(operation),
      ...(operation === 1 ? [`ioas ${ioas}`] : []),
    ],
    answer: (_words, value, _iommufd, operation) => (operation === 0 ? `ioas ${value}` : '0'),
  },
  destroy: { name: 'IOMMU_DESTROY', args: (words, iommufd, id) => [words.fd(iommufd), `id ${id}`] },
  ioasMap: {
    name: 'IOMMU_IOAS_MAP',
    args: (words, iommufd, ioas, flags, address, length, iova) => [
      ...target(words, iommufd, ioas, flags, length, iova),
      `user_va ${hex(address)}`,
    ],
    answer: iovaWords,
  },
  ioasMapMemory: {
    name: 'IOMMU_IOAS_MAP',
    args: (words, iommufd, ioas, flags, memory, offset, length, iova) => [
      ...target(words, iommufd, ioas, flags, length, iova),
      `memory ${memory}+${hex(offset)}`,
    ],
    answer: iovaWords,
  },
  ioasMapMemoryFile: {
    name: 'IOMMU_IOAS_MAP_FILE',
    args: (words, iommufd, ioas, flags, memory, offset, length, iova) => [
      ...target(words, iommufd, ioas, flags, length, iova),
      `memory ${memory}+${hex(offset)}`,
    ],
    answer: iovaWords,
  },
  ioasMapFile: {
    name: 'IOMMU_IOAS_MAP_FILE',
    args: (words, iommufd, ioas, flags, fd, offset, length, iova) => [
      ...target(words, iommufd, ioas, flags, length, iova),
      `fd ${fd}+${hex(offset)}`,
    ],
    answer: iovaWords,
  },
  ioasUnmap: {
    name: 'IOMMU_IOAS_UNMAP',
    args: (words, iommufd, ioas, iova, length) => [
      words.fd(iommufd),
      `ioas ${ioas}`,
      `iova ${hex(iova)}`,
      `${hex(length)} bytes`,
    ],
    answer: bytesWords,
  },
  ioasCopy: {
    name: 'IOMMU_IOAS_COPY',
    args: (words, iommufd, ioas, flags, source, sourceIova, length, iova) => [
      ...target(words, iommufd, ioas, flags, length, iova),
      `from ioas ${source}`,
      `iova ${hex(sourceIova)}`,
    ],
    answer: iovaWords,
  },
  ioasChangeProcess: {
    name: 'IOMMU_IOAS_CHANGE_PROCESS',
    args: (words, iommufd) => [words.fd(iommufd)],
  },
  ioasIovaRanges: {
    name: 'IOMMU_IOAS_IOVA_RANGES',
    args: (words, iommufd, ioas) => [words.fd(iommufd), `ioas ${ioas}`],
    answer: (_words, value, _iommufd, _ioas, room) =>
      struct({
        num_iovas: value,
        out_iova_alignment: hex(room[0] ?? 0n),
        allowed: extents(room.subarray(1, 1 + 2 * value)),
      }),
  },
  ioasAllowIovas: {
    name: 'IOMMU_IOAS_ALLOW_IOVAS',
    args: (words, iommufd, ioas, ranges) => [words.fd(iommufd), `ioas ${ioas}`, extents(ranges)],
  },
  ioasPhysicalAddress: {
    name: 'IOMMU_IOAS_NOIOMMU_GET_PA',
    args: (words, iommufd, ioas, iova, length) => [
      words.fd(iommufd),
      `ioas ${ioas}`,
      `iova ${hex(iova)}`,
      `${hex(length)} bytes`,
    ],
    answer: (_words, value) => hex(value),
  },
  iommuOption: {
    name: 'IOMMU_OPTION',
    args: (words, iommufd, option, operation, object, value) => [
      words.fd(iommufd),
      `${operations[operation] ?? String(operation)} ${options[option] ?? String(option)}`,
      `object ${object}`,
      String(value),
    ],
  },
  iommufdProbe: {
    name: 'ioctl',
    args: (words, iommufd, request) => [
      words.fd(iommufd),
      probed[request] ?? `request ${hex(request)}`,
      'no struct: whether the kernel knows it',
    ],
  },
  hwptAlloc: {
    name: 'IOMMU_HWPT_ALLOC',
    args: (words, iommufd, device, parent, flags, faultQueue, dataType, data) => [
      words.fd(iommufd),
      `dev_id ${device}`,
      `pt_id ${parent}`,
      bitWords(flags, hwptFlags),
      ...((flags & hwptFlags.fault_id_valid) === 0 ? [] : [`fault_id ${faultQueue}`]),
      ...(dataType === 0 ? [] : [`data_type ${dataType}`, bytesOf(data)]),
    ],
    answer: (_words, value) => `hwpt ${value}`,
  },
  hwptSetDirtyTracking: {
    name: 'IOMMU_HWPT_SET_DIRTY_TRACKING',
    args: (words, iommufd, hwpt, flags) => [
      words.fd(iommufd),
      `hwpt ${hwpt}`,
      bitWords(flags, { enable: 1 }),
    ],
  },
  hwptGetDirtyBitmap: {
    name: 'IOMMU_HWPT_GET_DIRTY_BITMAP',
    args: (words, iommufd, hwpt, flags, iova, length, pageSize) => [
      words.fd(iommufd),
      `hwpt ${hwpt}`,
      bitWords(flags, { no_clear: 1 }),
      ...dirtyRange(iova, length, pageSize),
    ],
    answer: (_words, value) => bitsOf(value),
  },
  getHwInfo: {
    name: 'IOMMU_GET_HW_INFO',
    args: (words, iommufd, device, type) => [
      words.fd(iommufd),
      `dev_id ${device}`,
      ...(type === undefined ? [] : [`data_type ${type}`]),
    ],
    answer: (_words, _value, _iommufd, _device, _type, out) =>
      struct({ out_data_type: String(out[1]), out_capabilities: hex(out[0] ?? 0n) }),
  },
  faultQueueAlloc: {
    name: 'IOMMU_FAULT_QUEUE_ALLOC',
    args: (words, iommufd) => [words.fd(iommufd)],
    answer: (words, value, _iommufd, out) =>
      `fault_id ${out[0] ?? 0}, ${words.fd(value as NativeFd)}`,
  },
  groupStatus: {
    name: 'VFIO_GROUP_GET_STATUS',
    args: (words, group) => [words.fd(group)],
    answer: (_words, value) => bitWords(value, groupFlags),
  },
  groupSetContainer: {
    name: 'VFIO_GROUP_SET_CONTAINER',
    args: (words, group, container) => [words.fd(group), `container ${words.fd(container)}`],
  },
  groupGetDevice: {
    name: 'VFIO_GROUP_GET_DEVICE_FD',
    // What follows the name may be a token, which the kernel takes in the same text.
    args: (words, group, name) => [words.fd(group), quoted(name.replace(/ .*/s, ' …'))],
    answer: (words, value) => words.fd(value as NativeFd),
  },
  containerVersion: {
    name: 'VFIO_GET_API_VERSION',
    args: (words, container) => [words.fd(container)],
  },
  containerCheck: {
    name: 'VFIO_CHECK_EXTENSION',
    args: (words, container, extension) => [words.fd(container), extensionName(extension)],
  },
  containerInfo: {
    name: 'VFIO_IOMMU_GET_INFO',
    args: (words, container) => [words.fd(container)],
    answer: (_words, _value, _container, room) =>
      struct({ argsz: room[0] ?? 0, flags: bitWords(room[1] ?? 0, { pgsizes: 1, caps: 2 }) }),
  },
  containerSetIommu: {
    name: 'VFIO_SET_IOMMU',
    args: (words, container, type) => [words.fd(container), extensionName(type)],
  },
  containerMap: {
    name: 'VFIO_IOMMU_MAP_DMA',
    args: (words, container, flags, address, length, iova) => [
      words.fd(container),
      bitWords(flags, containerMapFlags),
      `iova ${hex(iova)}`,
      `${hex(length)} bytes`,
      `vaddr ${hex(address)}`,
    ],
    answer: iovaWords,
  },
  containerMapMemory: {
    name: 'VFIO_IOMMU_MAP_DMA',
    args: (words, container, flags, memory, offset, length, iova) => [
      words.fd(container),
      bitWords(flags, containerMapFlags),
      `iova ${hex(iova)}`,
      `${hex(length)} bytes`,
      `memory ${memory}+${hex(offset)}`,
    ],
    answer: iovaWords,
  },
  containerUnmap: {
    name: 'VFIO_IOMMU_UNMAP_DMA',
    args: (words, container, flags, iova, length) => [
      words.fd(container),
      bitWords(flags, containerUnmapFlags),
      `iova ${hex(iova)}`,
      `${hex(length)} bytes`,
    ],
    answer: bytesWords,
  },
  containerTrackDirty: {
    name: 'VFIO_IOMMU_DIRTY_PAGES',
    args: (words, container, flags) => [words.fd(container), bitWords(flags, dirtyFlags)],
  },
  containerDirtyBitmap: {
    name: 'VFIO_IOMMU_DIRTY_PAGES',
    args: (words, container, iova, length, pageSize) => [
      words.fd(container),
      'GET_BITMAP',
      ...dirtyRange(iova, length, pageSize),
    ],
    answer: (_words, value) => bitsOf(value),
  },
  containerUnmapDirty: {
    name: 'VFIO_IOMMU_UNMAP_DMA',
    args: (words, container, iova, length, pageSize) => [
      words.fd(container),
      bitWords(containerUnmapFlags.get_dirty_bitmap, containerUnmapFlags),
      ...dirtyRange(iova, length, pageSize),
    ],
    // A word with what was mapped comes before the bits.
    answer: (_words, value) =>
      typeof value === 'number'
        ? String(value)
        : `${hex(value[0] ?? 0n)} bytes, ${bitsOf(value.subarray(1))}`,
  },
};

/** VFIO_TYPE1_IOMMU and the like, which are extensions and types of an IOMMU at once. */
const extensions: Readonly<Record<number, string>> = {
  1: 'VFIO_TYPE1_IOMMU',
  3: 'VFIO_TYPE1v2_IOMMU',
  4: 'VFIO_DMA_CC_IOMMU',
  8: 'VFIO_NOIOMMU_IOMMU',
  9: 'VFIO_UNMAP_ALL',
};

function extensionName(number: number): string {
  return extensions[number] ?? `extension ${number}`;
}
