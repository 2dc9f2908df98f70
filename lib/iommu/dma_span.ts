import { invalidType, outOfRange } from '../core/arguments.ts';
import { VfioError } from '../core/errors.ts';

/**
 * Memory that devices reach from one I/O virtual address on: a {@link DmaMapping}, or a
 * {@link DmaBlock} of a pool. Descriptors are filled with the addresses of its bytes, whole or as
 * two words of 32 bits, which are plain numbers and cost no BigInt.
 */
export interface DmaSpan {
  /** Where devices reach it. */
  readonly iova: bigint;
  /** In bytes. */
  readonly size: number;
  /** Where this program sees it. */
  readonly bytes: Uint8Array;
  /** Whether devices reach it: it is neither unmapped nor given back. */
  readonly mapped: boolean;
  /**
   * Where devices reach one of its bytes.
   *
   * @param offset - from its start; less than `size`
   * @throws TypeError, RangeError
   * @throws VfioError `ERR_VFIO_CLOSED` where it is not `mapped`
   */
  iovaOf(offset: number): bigint;
  /**
   * The low 32 bits of what {@link iovaOf} answers, as a number. @throws as {@link iovaOf}
   *
   * @param offset - from its start; less than `size`
   */
  iovaLow(offset: number): number;
  /**
   * The high 32 bits of what {@link iovaOf} answers, as a number. @throws as {@link iovaOf}
   *
   * @param offset - from its start; less than `size`
   */
  iovaHigh(offset: number): number;
}

const wordSize = 2 ** 32;

/** The addresses of the bytes of a span: apart from that, which is made for every map. */
export class SpanAddresses {
  readonly #start: bigint;
  readonly #size: number;
  readonly #low: number;
  readonly #high: number;

  constructor(iova: bigint, size: number) {
    this.#start = iova;
    this.#size = size;
    this.#low = Number(BigInt.asUintN(32, iova));
    this.#high = Number(iova >> 32n);
  }

  of(offset: number): bigint {
    this.#check(offset);
    return this.#start + BigInt(offset);
  }

  low(offset: number): number {
    this.#check(offset);
    return (this.#low + (offset >>> 0)) >>> 0;
  }

  high(offset: number): number {
    this.#check(offset);
    const low = offset >>> 0;
    const carry = this.#low + low >= wordSize ? 1 : 0;
    return this.#high + (offset - low) / wordSize + carry;
  }

  #check(offset: unknown): void {
    const isInside = typeof offset === 'number' && offset >= 0 && offset < this.#size;
    if (isInside && Number.isInteger(offset)) return;
    const expected = `a whole number of bytes from 0 to ${this.#size - 1}`;
    throw typeof offset === 'number'
      ? outOfRange('offset', expected, offset)
      : invalidType('offset', expected, offset);
  }
}

/** The error of using what is not mapped any more. */
export function unmappedError(iova: bigint): VfioError {
  const message = `the DMA memory at 0x${iova.toString(16)} is unmapped, or was given back`;
  return new VfioError({ code: 'ERR_VFIO_CLOSED', message });
}
