import { outOfRange, requireObject } from '../core/arguments.ts';
import { counted } from '../core/counted.ts';
import { explained, VfioError } from '../core/errors.ts';
import { defineInspect } from '../core/inspect_handle.ts';
import {
  checkAlignment,
  checkEnd,
  checkIova,
  checkLength,
  checkRanges,
  type IovaRange,
  lastIova,
} from '../core/iova.ts';

/** What an address has to be. */
export interface IovaAllocateOptions {
  /** A power of two of which the address is a multiple; the allocator's granule by default. */
  alignment?: bigint | undefined;
  /** The last address that the device can use: `2n ** 32n - 1n` for one of 32 bits. */
  last?: bigint | undefined;
}

/**
 * Chooses I/O virtual addresses where the program and not the kernel does: for devices that reach
 * only low addresses, or queues that have to lie at fixed distances. Makes no system call; what it
 * answers goes to {@link Ioas.map} as `iova`. It never answers 0, which many drivers take for none.
 */
export class IovaAllocator {
  /** Apart from one another and ascending. */
  #free: IovaRange[];
  readonly #used = new Map<bigint, bigint>();
  readonly #granule: bigint;

  static {
    defineInspect(this, 'IovaAllocator', (allocator) => ({
      free: allocator.#free.length,
      used: allocator.#used.size,
    }));
  }

  /**
   * @param ranges - where addresses may lie: `ioas.iovaRanges()`, read after the device was
   *   attached
   * @param granule - a power of two, of which every size is made a multiple
   * @throws TypeError, RangeError
   */
  constructor(ranges: readonly IovaRange[], granule = 4096n) {
    this.#granule = checkAlignment('granule', granule);
    this.#free = merged(checkRanges('ranges', ranges));
    this.#take(0n, 0n);
  }

  /** What is free, apart from one another and ascending. */
  get free(): IovaRange[] {
    return this.#free.map(({ start, last }) => ({ start, last }));
  }

  /**
   * The lowest free address with so many bytes.
   *
   * @param size - in bytes
   * @throws TypeError, RangeError
   * @throws VfioError `ENOSPC`, reason `iova-exhausted`
   */
  allocate(size: number, options: IovaAllocateOptions = {}): bigint {
    const length = roundUp(BigInt(checkLength('size', size)), this.#granule);
    requireObject('options', options);
    const { alignment: given = this.#granule, last: highest = lastIova } = options;
    const wanted = checkAlignment('alignment', given);
    const alignment = wanted > this.#granule ? wanted : this.#granule;
    const limit = checkIova('last', highest);
    for (const { start, last } of this.#free) {
      const iova = roundUp(start, alignment);
      const end = iova + length - 1n;
      if (end > last || end > limit) continue;
      this.#take(iova, end);
      this.#used.set(iova, end);
      return iova;
    }
    throw this.#exhausted(length);
  }

  /**
   * Takes a range that something else decided on. It may reach beyond what is free, and may not
   * touch what `allocate` answered.
   *
   * @param iova - where the range begins
   * @param size - its bytes
   * @throws TypeError, RangeError
   */
  reserve(iova: bigint, size: number): void {
    const start = checkIova('iova', iova);
    const length = BigInt(checkLength('size', size));
    checkEnd('iova', start, length);
    const last = start + length - 1n;
    for (const [usedStart, usedLast] of this.#used) {
      if (usedStart > last || usedLast < start) continue;
      throw outOfRange('iova', `apart from what is allocated at ${usedStart}`, iova);
    }
    this.#take(start, last);
  }

  /**
   * Gives an address back.
   *
   * @param iova - what {@link allocate} answered
   * @throws TypeError; RangeError where `allocate` did not answer it
   */
  release(iova: bigint): void {
    const last = this.#used.get(checkIova('iova', iova));
    if (last === undefined) throw outOfRange('iova', 'what allocate() answered', iova);
    this.#used.delete(iova);
    this.#free = merged([...this.#free, { start: iova, last }]);
  }

  #take(from: bigint, to: bigint): void {
    this.#free = this.#free.flatMap(({ start, last }) => {
      if (to < start || from > last) return [{ start, last }];
      const below = start < from ? [{ start, last: from - 1n }] : [];
      const above = last > to ? [{ start: to + 1n, last }] : [];
      return [...below, ...above];
    });
  }

  #exhausted(length: bigint): VfioError {
    const message = `ENOSPC: no ${counted(length, 'byte')} of I/O virtual addresses are free`;
    const facts = { length, ranges: this.free };
    const cause = { reason: 'iova-exhausted', certainty: 'certain', facts } as const;
    return explained(new VfioError({ code: 'ENOSPC', message }), cause);
  }
}

function roundUp(value: bigint, alignment: bigint): bigint {
  return (value + alignment - 1n) & ~(alignment - 1n);
}

function merged(ranges: readonly IovaRange[]): IovaRange[] {
  const sorted = [...ranges].sort((a, b) => (a.start < b.start ? -1 : Number(a.start > b.start)));
  const result: IovaRange[] = [];
  for (const { start, last } of sorted) {
    const before = result.at(-1);
    if (before === undefined || start > before.last + 1n) result.push({ start, last });
    else if (last > before.last) before.last = last;
  }
  return result;
}
