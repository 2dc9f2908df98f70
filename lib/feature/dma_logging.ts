import { checkUnsigned, invalidType, outOfRange, requireObject } from '../core/arguments.ts';
import { defineInspect } from '../core/inspect_handle.ts';
import { call, run, runSync, type Steps } from '../core/steps.ts';
import { makeUncloneable } from '../core/uncloneable.ts';
import { feature, type FeatureCalls, noData, operation } from './call.ts';
import { DirtyPages } from './dirty_pages.ts';

/** A range of I/O virtual addresses. */
export interface LoggedRange {
  /** Where it begins. */
  iova: number | bigint;
  /** Bytes. */
  length: number | bigint;
}

/** The pages that a device writes to by DMA, told by the device itself. */
export class DmaLogging {
  readonly #calls: FeatureCalls;

  static {
    defineInspect(this, 'DmaLogging', (one) => one.#calls.shown);
  }

  private constructor(calls: FeatureCalls) {
    makeUncloneable(this);
    this.#calls = calls;
  }

  /** @internal */
  static of(calls: FeatureCalls): DmaLogging {
    return new DmaLogging(calls);
  }

  /**
   * Starts logging the writes to these ranges, by pages of `pageSize` bytes: a power of two, instead
   * of which the device may take another.
   *
   * @returns the page size that the device took
   * @throws TypeError, RangeError; VfioError `ERR_VFIO_UNSUPPORTED`, `EINVAL` where it logs already;
   *   `ERR_VFIO_CLOSED`
   */
  async start(options: { pageSize: number; ranges: readonly LoggedRange[] }): Promise<number> {
    return await run(this.#start(options));
  }

  /** The blocking form of {@link start}. */
  startSync(options: { pageSize: number; ranges: readonly LoggedRange[] }): number {
    return runSync(this.#start(options));
  }

  /**
   * The pages of a range that were written to since the last report of it. After an error all pages
   * have to be taken for written.
   *
   * @throws TypeError, RangeError; VfioError `ERR_VFIO_UNSUPPORTED`, `EINVAL` where nothing is
   *   logged; `ERR_VFIO_CLOSED`
   */
  async report(options: LoggedRange & { pageSize: number }): Promise<DirtyPages> {
    return await run(this.#report(options));
  }

  /** The blocking form of {@link report}. */
  reportSync(options: LoggedRange & { pageSize: number }): DirtyPages {
    return runSync(this.#report(options));
  }

  /**
   * Ends logging.
   *
   * @throws VfioError `ERR_VFIO_UNSUPPORTED`, `ERR_VFIO_CLOSED`
   */
  async stop(): Promise<void> {
    await run(this.#stop());
  }

  /** The blocking form of {@link stop}. */
  stopSync(): void {
    runSync(this.#stop());
  }

  *#start(options: { pageSize: number; ranges: readonly LoggedRange[] }): Steps<number> {
    requireObject('options', options);
    const { pageSize, ranges } = options;
    const size = checkPageSize(pageSize);
    if (!Array.isArray(ranges) || ranges.length === 0) {
      throw invalidType('ranges', 'an array of { iova, length }, of one range at least', ranges);
    }
    const numbers = ranges.flatMap((range: unknown) => {
      requireObject('ranges', range);
      return checkRange(range as LoggedRange);
    });
    const longs = BigUint64Array.from([size, ...numbers]);
    const answer = yield* call('dmaLoggingStart', this.#calls.native, longs);
    return this.#calls.check(answer, feature.dmaLoggingStart);
  }

  *#report(options: LoggedRange & { pageSize: number }): Steps<DirtyPages> {
    requireObject('options', options);
    const size = checkPageSize(options.pageSize);
    const [iova, length] = checkRange(options);
    if (length / size > 1n << 32n) throw outOfRange('length', '2^32 pages at most', length);
    const longs = BigUint64Array.from([iova, length, size]);
    const answer = yield* call('dmaLoggingReport', this.#calls.native, longs);
    const bitmap = this.#calls.bytes(answer, feature.dmaLoggingReport);
    return new DirtyPages(iova, length, size, bitmap);
  }

  *#stop(): Steps<void> {
    yield* this.#calls.bytesOf(feature.dmaLoggingStop | operation.set, noData);
  }
}

function checkRange({ iova, length }: LoggedRange): [iova: bigint, length: bigint] {
  const checked: [bigint, bigint] = [checkUnsigned('iova', iova), checkUnsigned('length', length)];
  if (checked[1] === 0n) throw outOfRange('length', 'more than 0', length);
  return checked;
}

function checkPageSize(pageSize: unknown): bigint {
  const expected = 'a power of two';
  if (typeof pageSize !== 'number') throw invalidType('pageSize', expected, pageSize);
  if (Number.isSafeInteger(pageSize) && pageSize > 0) {
    const size = BigInt(pageSize);
    if ((size & (size - 1n)) === 0n) return size;
  }
  throw outOfRange('pageSize', expected, pageSize);
}
