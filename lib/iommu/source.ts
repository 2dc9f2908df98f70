import { invalidType, outOfRange } from '../arguments.ts';
import { binding, type Answer, type Binding, type NativeFd } from '../binding.ts';
import { check } from '../call.ts';
import { DmaBuffer } from './dma_buffer.ts';
import { checkLength, checkOffset } from './iova.ts';
import { Memory } from './memory.ts';

/** A part of a memfd, of a shmem or hugetlbfs file, or of a DMA-BUF. */
export interface DmaFile {
  /** The descriptor’s number, open for reading and writing. It stays yours, and may be closed once the map is made. */
  fd: number;
  /** In bytes, a multiple of the page size. */
  offset: number;
  /** In bytes, a multiple of the page size. */
  length: number;
}

/** What is to be mapped, as the addon maps it. */
export interface Source {
  length: bigint;
  /** Where it begins, in its file or in this process. */
  offset: bigint;
  what: 'buffer' | 'file' | 'address';
  /** What must stay while it is mapped. */
  memory?: Memory | undefined;
  buffer?: DmaBuffer | undefined;
  request: 'IOMMU_IOAS_MAP' | 'IOMMU_IOAS_MAP_FILE' | 'IOMMU_IOAS_COPY';
  map: (target: MapTarget, iova: bigint) => ReturnType<Binding['ioasMap']>;
  mapSync: (target: MapTarget, iova: bigint) => bigint | Answer;
}

type MapTarget = [iommufd: NativeFd, ioas: number, flags: number];

/** `byFile`: whether the kernel maps files (IOMMU_IOAS_MAP_FILE, Linux 6.13). */
export function sourceOf(
  given: unknown,
  part: { offset?: unknown; length?: unknown },
  byFile: () => boolean,
): Source {
  if (given instanceof DmaBuffer) return bufferSource(given, part, byFile());
  if (typeof given !== 'object' || given === null || !('fd' in given)) {
    throw invalidType('source', 'a DmaBuffer, or { fd, offset, length }', given);
  }
  const { fd, offset, length } = given as Partial<DmaFile>;
  if (typeof fd !== 'number') throw invalidType('source.fd', 'a number', fd);
  if (!(Number.isInteger(fd) && fd >= 0 && fd < 2 ** 31)) {
    throw outOfRange('source.fd', 'a descriptor', fd);
  }
  const start = BigInt(checkOffset('source.offset', offset));
  const bytes = BigInt(checkLength('source.length', length));
  return byFile() ? fileSource(fd, start, bytes) : mappedFileSource(fd, start, bytes);
}

function bufferSource(
  buffer: DmaBuffer,
  part: { offset?: unknown; length?: unknown },
  byFile: boolean,
): Source {
  const { memory } = buffer;
  const offset = checkOffset('offset', part.offset ?? 0);
  const length = checkLength('length', part.length ?? memory.size - offset);
  if (offset + length > memory.size) {
    throw outOfRange('length', `${memory.size - offset} at most`, length);
  }
  const source = memorySource(memory, BigInt(offset), BigInt(length), byFile);
  return { ...source, what: 'buffer', buffer };
}

function memorySource(memory: Memory, offset: bigint, length: bigint, byFile: boolean): Source {
  const name = byFile ? 'ioasMapMemoryFile' : 'ioasMapMemory';
  return {
    ...{ length, offset, memory, what: 'file' },
    request: byFile ? 'IOMMU_IOAS_MAP_FILE' : 'IOMMU_IOAS_MAP',
    map: (target, iova) => binding()[name](...target, memory.native, offset, length, iova),
    mapSync: (target, iova) =>
      binding()[`${name}Sync`](...target, memory.native, offset, length, iova),
  };
}

function fileSource(fd: number, offset: bigint, length: bigint): Source {
  return {
    ...{ length, offset, what: 'file', request: 'IOMMU_IOAS_MAP_FILE' },
    map: (target, iova) => binding().ioasMapFile(...target, fd, offset, length, iova),
    mapSync: (target, iova) => binding().ioasMapFileSync(...target, fd, offset, length, iova),
  };
}

/** Kernels that map no files map this process's mapping of it, which has to stay as long. */
function mappedFileSource(fd: number, offset: bigint, length: bigint): Source {
  const call = { syscall: 'mmap' };
  const handle = check(binding().memoryFromFile(fd, offset, length), call);
  const memory = new Memory(handle as never, Number(length));
  return memorySource(memory, 0n, length, false);
}

/** Memory that somebody else in this process owns. */
export function addressSource(address: bigint, length: bigint): Source {
  return {
    ...{ length, offset: address, what: 'address', request: 'IOMMU_IOAS_MAP' },
    map: (target, iova) => binding().ioasMap(...target, address, length, iova),
    mapSync: (target, iova) => binding().ioasMapSync(...target, address, length, iova),
  };
}
