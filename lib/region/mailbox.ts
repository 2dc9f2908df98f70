import type { NativeDmaPoll, NativeFd, NativeMapping, NativePrepared } from '../core/binding.ts';
import { util } from '../core/builtins.ts';
import { littleEndian } from '../core/structs.ts';

const { isUint32Array } = util.types;

/** What {@link Mailbox.status} says when the access was made, when it was refused; else -errno. */
export const done = 0;
export const refused = 1;
/** And so many bytes were transferred, too few. */
export const short = 2;

// Words of native/mmio.h's Mailbox. A value of 32 bits or fewer is the low half of its 64.
const LOW = littleEndian ? 2 : 3;
const HANDLE = 4;
const STATUS = 5;
const START_HIGH = 6;
const START_LOW = 7;
const ROWS = 8;
const OFFSETS = 9;
const VALUES = 25;
const PREPARED = 41;
const FAILED_AT = 42;
const POLL = 43;
const SPIN = 44;
const FOUND = 45;

/** Registers of 32 bits that go by one mail. Longer rows cost less as arguments. */
const mostRows = 16;

/**
 * The addon's memory in which a single access finds its arguments and leaves its result. Between
 * writing them and the call no other JavaScript may run.
 */
export class Mailbox {
  // Typed arrays, which engines read and write in place; a DataView doubles what an access costs.
  readonly #offset: Float64Array;
  readonly #words: Uint32Array;
  readonly #signed: Int32Array;
  readonly #wide: BigUint64Array;

  constructor(memory: ArrayBuffer) {
    this.#offset = new Float64Array(memory, 0, 1);
    this.#words = new Uint32Array(memory);
    this.#signed = new Int32Array(memory);
    this.#wide = new BigUint64Array(memory, 8, 1);
  }

  /** Where the next access goes. The addon checks both; what is no number is refused there. */
  aim(mapping: NativeMapping, offset: unknown): void {
    this.#words[HANDLE] = mapping;
    this.#offset[0] = typeof offset === 'number' ? offset : NaN;
  }

  /** What the next call is about, where it goes to no place. */
  name(handle: number): void {
    this.#words[HANDLE] = handle;
  }

  /** Like {@link aim}, for a place in a region of a device, whose start is in two halves. */
  aimAt(device: NativeFd, high: number, low: number, offset: number): void {
    this.#words[HANDLE] = device;
    this.#words[START_HIGH] = high;
    this.#words[START_LOW] = low;
    this.#offset[0] = offset;
  }

  /**
   * Where the next row of accesses goes, and what it writes. False where it cannot go by mail: it
   * is too long, or something else than it should be, which the call that takes arguments finds
   * out.
   */
  aimRows(mapping: NativeMapping, offsets: unknown, values: unknown): offsets is Uint32Array {
    if (!isUint32Array(offsets) || !isUint32Array(values)) return false;
    const count = offsets.length;
    if (count > mostRows || count > values.length) return false;
    const words = this.#words;
    for (let at = 0; at < count; at++) {
      const offset = offsets[at];
      const value = values[at];
      // A length that somebody redefined.
      if (offset === undefined || value === undefined) return false;
      words[OFFSETS + at] = offset;
      words[VALUES + at] = value;
    }
    words[ROWS] = count;
    words[HANDLE] = mapping;
    return true;
  }

  /** What a row of reads found. */
  takeRows(values: Uint32Array, count: number): void {
    for (let at = 0; at < count; at++) values[at] = this.#words[VALUES + at] ?? 0;
  }

  /** Which accesses are made. */
  aimPrepared(prepared: NativePrepared): void {
    this.#words[PREPARED] = prepared;
  }

  /** Which memory is polled, for so many microseconds at most. */
  aimPoll(poll: NativeDmaPoll, spin: number): void {
    this.#words[POLL] = poll;
    this.#words[SPIN] = spin;
  }

  /** Which memory the next poll looks at. */
  get poll(): number {
    return this.#words[POLL] ?? 0;
  }

  /** What the next access goes to. */
  get handle(): number {
    return this.#words[HANDLE] ?? 0;
  }

  /** Where in it. */
  get offset(): number {
    return this.#offset[0] ?? NaN;
  }

  /** Where the region of {@link aimAt} starts, in its halves. */
  get start(): { high: number; low: number } {
    return { high: this.#words[START_HIGH] ?? 0, low: this.#words[START_LOW] ?? 0 };
  }

  /** Which of the prepared accesses faulted. */
  get failedAt(): number {
    return this.#words[FAILED_AT] ?? 0;
  }

  /** How many entries a poll found. */
  get found(): number {
    return this.#words[FOUND] ?? 0;
  }

  get status(): number {
    return this.#signed[STATUS] ?? refused;
  }

  get value(): number {
    return this.#words[LOW] ?? 0;
  }

  set value(value: number) {
    this.#words[LOW] = value;
  }

  get value64(): bigint {
    return this.#wide[0] ?? 0n;
  }

  set value64(value: bigint) {
    this.#wide[0] = value;
  }
}

/** Whether a register of so many bits can hold it. */
export function fits(value: unknown, most: number): boolean {
  return typeof value === 'number' && value >>> 0 === value && value <= most;
}

/** Like {@link fits}, for 64 bits. */
export function fits64(value: unknown): boolean {
  return typeof value === 'bigint' && BigInt.asUintN(64, value) === value;
}
