import { EBUSY, EINVAL, ENOENT, ENOSPC } from '../core/errno.ts';
import { EADDRINUSE, EEXIST, EOVERFLOW } from './errno.ts';
import type { DmaPages } from './dma_pages.ts';

/** enum iommufd_ioas_map_flags */
export const mapFlags = { fixedIova: 1, writeable: 2, readable: 4 } as const;

const U64_MAX = 2n ** 64n - 1n;

export interface Range {
  start: bigint;
  last: bigint;
}

/** What is mapped at one place. */
export interface Mapped {
  iova: bigint;
  length: bigint;
  flags: number;
  pages: DmaPages;
}

/** What the IOMMU of the fake machine can do. */
export interface IommuLimits {
  /** The highest address that it translates. */
  lastIova: bigint;
  pageSize: bigint;
  /** Whether it tells which pages devices wrote. */
  canTrack: boolean;
  /** What it keeps for itself, as x86's does for messages of interrupts. */
  reserved: Range;
}

/** An I/O address space, as the kernel's struct io_pagetable has it. */
export class IoSpace {
  readonly id: number;
  readonly #limits: IommuLimits;
  /** In the order of their addresses. */
  readonly #maps: Mapped[] = [];
  /** IOMMU_IOAS_ALLOW_IOVAS; undefined: all. */
  #allowed: Range[] | undefined;
  /** What is attached: a range is usable while they all can reach it. */
  users = 0;
  /** Page tables that were made of it by programs. */
  tables = 0;
  /** IOMMU_OPTION_HUGE_PAGES */
  hugePages = true;

  constructor(id: number, limits: IommuLimits) {
    this.id = id;
    this.#limits = limits;
  }

  get alignment(): bigint {
    return this.users > 0 ? this.#limits.pageSize : 1n;
  }

  /** What can be mapped, as IOMMU_IOAS_IOVA_RANGES tells it. */
  ranges(): Range[] {
    if (this.users === 0) return [{ start: 0n, last: U64_MAX }];
    const { reserved, lastIova } = this.#limits;
    const parts = [
      { start: 0n, last: reserved.start - 1n },
      { start: reserved.last + 1n, last: lastIova },
    ];
    return parts.filter(({ start, last }) => start <= last && last <= lastIova);
  }

  allow(ranges: Range[]): number {
    const usable = this.ranges();
    const isIn = ({ start, last }: Range): boolean =>
      usable.some((range) => range.start <= start && last <= range.last);
    if (!ranges.every(isIn)) return EADDRINUSE;
    this.#allowed = ranges.length === 0 ? undefined : ranges;
    return 0;
  }

  /** 0, or why no device can be attached to what is mapped: -errno. */
  attachProblem(): number {
    const { reserved, lastIova, pageSize } = this.#limits;
    const isBad = ({ iova, length }: Omit<Mapped, 'pages' | 'flags'>): boolean =>
      overlaps({ start: iova, last: iova + length - 1n }, reserved) ||
      iova + length - 1n > lastIova ||
      iova % pageSize !== 0n ||
      length % pageSize !== 0n;
    const allowed = (this.#allowed ?? []).some((range) => overlaps(range, reserved));
    if (allowed || this.#maps.some(isBad)) return EADDRINUSE;
    return this.#maps.find(({ pages }) => pages.pinError !== 0)?.pages.pinError ?? 0;
  }

  /** Answers the IOVA, or -errno. */
  map(flags: number, pages: DmaPages, length: bigint, wanted: bigint): bigint | number {
    if ((flags & (mapFlags.writeable | mapFlags.readable)) === 0 || length === 0n) return EINVAL;
    if (length % this.alignment !== 0n) return EINVAL;
    const isFixed = (flags & mapFlags.fixedIova) !== 0;
    if (!isFixed) return this.#mapAnywhere(flags, pages, length);
    if (wanted % this.alignment !== 0n) return EINVAL;
    if (wanted + length - 1n > U64_MAX) return EOVERFLOW;
    const range = { start: wanted, last: wanted + length - 1n };
    if (!this.ranges().some(({ start, last }) => start <= range.start && range.last <= last)) {
      return EINVAL;
    }
    const next = this.#maps[this.#firstFrom(wanted)];
    if (next !== undefined && overlaps(rangeOf(next), range)) return EEXIST;
    return this.#add({ iova: wanted, length, flags, pages });
  }

  /** Answers how many bytes were mapped there, or -errno. */
  unmap(iova: bigint, length: bigint): bigint | number {
    if (iova === 0n && length === U64_MAX) return this.#unmapAll();
    if (length === 0n || iova + length - 1n > U64_MAX) return length === 0n ? EINVAL : EOVERFLOW;
    const range = { start: iova, last: iova + length - 1n };
    let count = 0;
    for (const each of this.#mapsFrom(iova)) {
      const { start, last } = rangeOf(each);
      if (start > range.last) break;
      if (start < range.start || last > range.last) return ENOENT;
      count++;
    }
    return count === 0 ? ENOENT : this.#remove(this.#firstFrom(iova), count);
  }

  /** What is mapped of a range without a gap, in its order; undefined where there is a gap. */
  find(iova: bigint, length: bigint): Mapped[] | undefined {
    const found: Mapped[] = [];
    const end = iova + length;
    let at = iova;
    for (const each of this.#mapsFrom(iova)) {
      if (at >= end || each.iova > at) break;
      found.push(each);
      at = each.iova + each.length;
    }
    return at < end ? undefined : found;
  }

  /** Whether it can be destroyed. */
  get destroyAnswer(): number {
    return this.users > 0 || this.tables > 0 ? EBUSY : 0;
  }

  #mapAnywhere(flags: number, pages: DmaPages, length: bigint): bigint | number {
    const { pageSize } = this.#limits;
    for (const { start, last } of this.#allowed ?? this.ranges()) {
      const from = start === 0n ? pageSize : roundUp(start, pageSize);
      const iova = this.#gap(from, last, length);
      if (iova !== undefined) return this.#add({ iova, length, flags, pages });
    }
    return ENOSPC;
  }

  #gap(from: bigint, last: bigint, length: bigint): bigint | undefined {
    let at = from;
    for (const each of this.#mapsFrom(from)) {
      if (at + length <= each.iova) break;
      at = roundUp(each.iova + each.length, this.#limits.pageSize);
    }
    return at + length - 1n <= last ? at : undefined;
  }

  /** The index of the first map that ends behind an address. */
  #firstFrom(iova: bigint): number {
    let [low, high] = [0, this.#maps.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      const each = this.#maps[middle];
      if (each !== undefined && each.iova + each.length > iova) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** That one, and all behind it. */
  *#mapsFrom(iova: bigint): Generator<Mapped> {
    for (let index = this.#firstFrom(iova); ; index++) {
      const each = this.#maps[index];
      if (each === undefined) return;
      yield each;
    }
  }

  #add(mapped: Mapped): bigint | number {
    if (this.users > 0 && mapped.pages.pinError !== 0) return mapped.pages.pinError;
    this.#maps.splice(this.#firstFrom(mapped.iova), 0, mapped);
    return mapped.iova;
  }

  #remove(first: number, count: number): bigint {
    const removed = this.#maps.splice(first, count);
    return removed.reduce((sum, { length }) => sum + length, 0n);
  }

  #unmapAll(): bigint {
    return this.#remove(0, this.#maps.length);
  }
}

function rangeOf({ iova, length }: Mapped): Range {
  return { start: iova, last: iova + length - 1n };
}

function overlaps(one: Range, other: Range): boolean {
  return one.start <= other.last && other.start <= one.last;
}

function roundUp(value: bigint, multiple: bigint): bigint {
  return ((value + multiple - 1n) / multiple) * multiple;
}
