import type { IovaBounds, IovaExtent } from '../core/reasons.ts';

/**
 * Where things are mapped in an address space whose kernel side leaves the choice of addresses to
 * the program.
 */
export class UsedIovas {
  /** By address, apart from one another. */
  readonly #taken: IovaExtent[] = [];

  /** The lowest free address of that alignment; undefined where there is none. It is never 0. */
  choose(length: bigint, alignment: bigint, ranges: readonly IovaBounds[]): bigint | undefined {
    for (const { start, last } of ranges) {
      const iova = this.#chooseIn(length, alignment, start === 0n ? 1n : start, last);
      if (iova !== undefined) return iova;
    }
    return undefined;
  }

  take(extent: IovaExtent): void {
    const at = this.#indexOf(extent.iova);
    if (this.#taken[at]?.iova !== extent.iova) this.#taken.splice(at, 0, extent);
  }

  free(iova: bigint): void {
    const at = this.#indexOf(iova);
    if (this.#taken[at]?.iova === iova) this.#taken.splice(at, 1);
  }

  #chooseIn(length: bigint, alignment: bigint, start: bigint, last: bigint): bigint | undefined {
    let iova = roundUp(start, alignment);
    for (const taken of this.#taken) {
      const end = taken.iova + taken.length;
      if (end <= iova) continue;
      if (taken.iova >= iova + length) break;
      iova = roundUp(end, alignment);
    }
    return iova + length - 1n <= last ? iova : undefined;
  }

  /** The index of the first that begins at `iova` or above. */
  #indexOf(iova: bigint): number {
    let low = 0;
    let high = this.#taken.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const { iova: found } = this.#taken[middle] ?? { iova };
      if (found < iova) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function roundUp(value: bigint, alignment: bigint): bigint {
  return (value + alignment - 1n) & ~(alignment - 1n);
}
