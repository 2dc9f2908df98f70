import { defineInspect } from '../core/inspect_handle.ts';
import { checkIova } from '../core/iova.ts';

/** Which pages of a range devices wrote, as the kernel said it. */
export class DirtyPages {
  /** Where the range begins. */
  readonly iova: bigint;
  /** The bytes of the range. */
  readonly length: bigint;
  /** The bytes of a page, for which there is one bit. */
  readonly pageSize: bigint;
  /** A bit for each page, the first being bit 0 of word 0. */
  readonly bitmap: BigUint64Array;

  /** @internal */
  static {
    defineInspect(this, 'DirtyPages', ({ iova, pageSize, bitmap }) => {
      return { iova, pageSize, pages: bitmap.length * 64 };
    });
  }

  constructor(iova: bigint, length: bigint, pageSize: bigint, bitmap: BigUint64Array) {
    this.iova = iova;
    this.length = length;
    this.pageSize = pageSize;
    this.bitmap = bitmap;
  }

  /**
   * Whether the page that has this address was written; false outside the range.
   *
   * @param iova - any address in the page
   * @throws TypeError, RangeError
   */
  has(iova: bigint): boolean {
    checkIova('iova', iova);
    if (iova < this.iova || iova >= this.iova + this.length) return false;
    const page = (iova - this.iova) / this.pageSize;
    const word = this.bitmap[Number(page >> 6n)] ?? 0n;
    return ((word >> (page & 63n)) & 1n) === 1n;
  }

  /** The addresses of the pages that were written, ascending. */
  *[Symbol.iterator](): Generator<bigint> {
    for (const [at, word] of this.bitmap.entries()) {
      for (let bit = 0n; word >> bit !== 0n; bit++) {
        if (((word >> bit) & 1n) === 0n) continue;
        yield this.iova + (BigInt(at) * 64n + bit) * this.pageSize;
      }
    }
  }
}
