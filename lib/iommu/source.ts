import { checkFdNumber, invalidType, outOfRange } from '../core/arguments.ts';
import { type Answer, type Binding, binding, type NativeFd } from '../core/binding.ts';
import { checkSteps } from '../core/call.ts';
import { checkLength, checkOffset } from '../core/iova.ts';
import { DmaBuffer } from './dma_buffer.ts';
import type { DmaMapping, MappedBuffer, MappedSource } from './mapping.ts';
import { Memory } from './memory.ts';

/** A part of a memfd, of a shmem or hugetlbfs file, or of a DMA-BUF. */
export interface DmaFile {
  /**
   * The descriptor's number, open for reading and writing. It stays yours, and may be closed once
   * the map is made.
   */
  fd: number;
  /** In bytes, a multiple of the page size. */
  offset: number;
  /** In bytes, a multiple of the page size. */
  length: number;
}

type Mapping = ReturnType<Binding['ioasMap']>;

/** What is to be mapped, and which of the addon's functions maps it. */
export interface Source extends MappedSource {
  readonly length: bigint;
  /** The same as a number. */
  readonly size: number;
  /** Where it begins, in its file or in this process. */
  readonly offset: bigint;
  readonly what: 'buffer' | 'file' | 'address' | 'region';
  /** What must stay until the call that maps it has begun. */
  readonly memory: Memory | undefined;
  readonly request: 'IOMMU_IOAS_MAP' | 'IOMMU_IOAS_MAP_FILE' | 'IOMMU_IOAS_COPY';
  map: (iommufd: NativeFd, ioas: number, flags: number, iova: bigint) => Mapping;
  mapSync: (iommufd: NativeFd, ioas: number, flags: number, iova: bigint) => bigint | Answer;
}

/** `byFile`: whether the kernel maps files (IOMMU_IOAS_MAP_FILE, Linux 6.13). */
export function sourceOf(
  given: unknown,
  part: { offset?: unknown; length?: unknown },
  byFile: () => boolean,
): Source {
  if (DmaBuffer.isDmaBuffer(given)) return bufferSource(given, part, byFile);
  if (typeof given !== 'object' || given === null || !('fd' in given)) {
    throw invalidType('source', 'a DmaBuffer, or { fd, offset, length }', given);
  }
  const { offset, length } = given as Partial<DmaFile>;
  const fd = checkFdNumber('source.fd', given.fd);
  const start = BigInt(checkOffset('source.offset', offset));
  const bytes = BigInt(checkLength('source.length', length));
  if (byFile()) return new FileSource(fd, start, bytes);
  // Such a kernel maps this process's mapping of the file, which the addon keeps as long.
  const answer = binding().memoryFromFile(fd, start, bytes);
  const handle = checkSteps(answer, 'memoryFromFile');
  const memory = new Memory(handle as never, Number(bytes));
  return new MemorySource(memory, undefined, 0, memory.size, false);
}

/**
 * Makes a plan of a source. What was made for this map alone goes where it is not made after all,
 * and not when it is collected.
 */
export function planned<Of extends Source, T>(source: Of, plan: (source: Of) => T): T {
  try {
    return plan(source);
  } catch (error) {
    source.memory?.ref();
    source.memory?.unref();
    throw error;
  }
}

function bufferSource(
  buffer: DmaBuffer,
  part: { offset?: unknown; length?: unknown },
  byFile: () => boolean,
): Source {
  const { memory } = buffer;
  const { offset: from = 0 } = part;
  const offset = checkOffset('offset', from);
  if (offset >= memory.size) throw outOfRange('offset', `less than ${memory.size}`, offset);
  const { length: bytes = memory.size - offset } = part;
  const length = checkLength('length', bytes);
  if (offset + length > memory.size) {
    throw outOfRange('length', `${memory.size - offset} at most`, length);
  }
  return new MemorySource(memory, buffer, offset, length, byFile());
}

// Classes, since a map is made of one each time: literals put together by spreading took longer
// than all else together. None of a class that extends it, which the engine makes more slowly.

/** Memory of ours, by its file where the kernel maps files, else by its address. */
class MemorySource implements Source {
  readonly memory: Memory;
  readonly buffer: MappedBuffer | undefined;
  readonly size: number;
  readonly offset: bigint;
  readonly length: bigint;
  readonly #byFile: boolean;

  constructor(
    memory: Memory,
    buffer: MappedBuffer | undefined,
    start: number,
    size: number,
    byFile: boolean,
  ) {
    this.memory = memory;
    this.buffer = buffer;
    this.size = size;
    // Making a BigInt takes longer than the rest of this.
    this.offset = start === 0 ? 0n : BigInt(start);
    this.length = size === memory.size ? memory.length : BigInt(size);
    this.#byFile = byFile;
  }

  get what(): Source['what'] {
    return this.buffer ? 'buffer' : 'file';
  }

  get bufferOffset(): number {
    return Number(this.offset);
  }

  get request(): Source['request'] {
    return this.#byFile ? 'IOMMU_IOAS_MAP_FILE' : 'IOMMU_IOAS_MAP';
  }

  map(iommufd: NativeFd, ioas: number, flags: number, iova: bigint): Mapping {
    const { offset, length } = this;
    const { native } = this.memory;
    return this.#byFile
      ? binding().ioasMapMemoryFile(iommufd, ioas, flags, native, offset, length, iova)
      : binding().ioasMapMemory(iommufd, ioas, flags, native, offset, length, iova);
  }

  mapSync(iommufd: NativeFd, ioas: number, flags: number, iova: bigint): bigint | Answer {
    const { offset, length } = this;
    const { native } = this.memory;
    return this.#byFile
      ? binding().ioasMapMemoryFileSync(iommufd, ioas, flags, native, offset, length, iova)
      : binding().ioasMapMemorySync(iommufd, ioas, flags, native, offset, length, iova);
  }
}

/** What has no memory of ours. */
abstract class ForeignSource {
  readonly memory: undefined;
  readonly buffer: undefined;
  readonly bufferOffset = 0;
  readonly offset: bigint;
  readonly length: bigint;

  constructor(offset: bigint, length: bigint) {
    this.offset = offset;
    this.length = length;
  }

  get size(): number {
    return Number(this.length);
  }
}

class FileSource extends ForeignSource implements Source {
  readonly what = 'file' as const;
  readonly request = 'IOMMU_IOAS_MAP_FILE' as const;
  readonly #fd: number;

  constructor(fd: number, offset: bigint, length: bigint) {
    super(offset, length);
    this.#fd = fd;
  }

  map(iommufd: NativeFd, ioas: number, flags: number, iova: bigint): Mapping {
    return binding().ioasMapFile(iommufd, ioas, flags, this.#fd, this.offset, this.length, iova);
  }

  mapSync(iommufd: NativeFd, ioas: number, flags: number, iova: bigint): bigint | Answer {
    const { offset, length } = this;
    return binding().ioasMapFileSync(iommufd, ioas, flags, this.#fd, offset, length, iova);
  }
}

/** Memory that somebody else in this process owns; its offset is its address. */
export class AddressSource extends ForeignSource implements Source {
  readonly what = 'address' as const;
  readonly request = 'IOMMU_IOAS_MAP' as const;

  map(iommufd: NativeFd, ioas: number, flags: number, iova: bigint): Mapping {
    return binding().ioasMap(iommufd, ioas, flags, this.offset, this.length, iova);
  }

  mapSync(iommufd: NativeFd, ioas: number, flags: number, iova: bigint): bigint | Answer {
    return binding().ioasMapSync(iommufd, ioas, flags, this.offset, this.length, iova);
  }
}

/** What is mapped in an address space of the same iommufd; its offset is where. */
export class CopySource implements Source {
  readonly what = 'address' as const;
  readonly request = 'IOMMU_IOAS_COPY' as const;
  readonly memory: undefined;
  readonly buffer: MappedBuffer | undefined;
  readonly bufferOffset: number;
  readonly offset: bigint;
  readonly length: bigint;
  readonly #ioas: number;

  /** `from`: what is mapped there, where that is known. */
  constructor(ioas: number, iova: bigint, length: bigint, from: DmaMapping | undefined) {
    this.#ioas = ioas;
    this.offset = iova;
    this.length = length;
    this.buffer = from?.source.buffer;
    this.bufferOffset = from ? from.source.bufferOffset + Number(iova - from.iova) : 0;
  }

  get size(): number {
    return Number(this.length);
  }

  map(iommufd: NativeFd, ioas: number, flags: number, iova: bigint): Mapping {
    return binding().ioasCopy(iommufd, ioas, flags, this.#ioas, this.offset, this.length, iova);
  }

  mapSync(iommufd: NativeFd, ioas: number, flags: number, iova: bigint): bigint | Answer {
    const { offset, length } = this;
    return binding().ioasCopySync(iommufd, ioas, flags, this.#ioas, offset, length, iova);
  }
}
