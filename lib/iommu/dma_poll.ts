import { checkInteger, invalidValue, outOfRange, requireObject } from '../core/arguments.ts';
import {
  type Answer,
  type Binding,
  binding,
  type NativeDmaPoll,
  type NativeMemory,
} from '../core/binding.ts';
import { check, checkBuffer } from '../core/call.ts';
import { VfioError } from '../core/errors.ts';
import { defineInspect } from '../core/inspect_handle.ts';
import { makeUncloneable } from '../core/uncloneable.ts';
import { done, Mailbox, refused } from '../region/mailbox.ts';
import { PreparedAccesses } from '../region/prepared.ts';

/** What both kinds of {@link DmaPoll} are told. */
export interface DmaPollOptions {
  /** Where in the memory the word is, of a ring that of its first entry; a multiple of the width. */
  offset: number;
  /** Bits of a word, which is little-endian: 8, 16 or 32 (without this). */
  width?: 8 | 16 | 32 | undefined;
  /** How many one call finds at most: what a program does in one go. All by default. */
  most?: number | undefined;
  /** See {@link DmaPoll.spin}: 0 by default. */
  spin?: number | undefined;
}

/** Which entries of a ring are new: {@link DmaBuffer.pollEntries}. */
export interface EntryPollOptions extends DmaPollOptions {
  /** Bytes from one entry to the next; a multiple of the width, and the width without this. */
  stride?: number | undefined;
  /** Entries of the ring; 1 by default. */
  count?: number | undefined;
  /** The bits that tell: a phase, a generation, a “descriptor done”. */
  mask: number;
  /** What they are in a new entry when the ring is gone through for the first time. */
  value: number;
  /**
   * What is added to `value`, within `mask`, each time the ring is gone through: for a phase bit
   * the bit itself, which so changes; 0, by default, where the program takes the bits back.
   */
  step?: number | undefined;
}

/** A word that counts what is new: {@link DmaBuffer.pollCounter}. */
export interface CounterPollOptions extends DmaPollOptions {
  /** Its low bits that count, where not all do: one less than a power of two. */
  mask?: number | undefined;
  /** Where it stands when nothing is new; 0 by default. */
  value?: number | undefined;
}

/** What a poll is of: the memory, and whether it is still there. */
interface PolledMemory {
  readonly disposed: boolean;
}

/** Microseconds. */
const mostSpin = 1000;

/**
 * Looks for what a device has written to a {@link DmaBuffer}, and remembers what was found before;
 * made by {@link DmaBuffer.pollEntries} and {@link DmaBuffer.pollCounter}. A call has no arguments
 * and leaves no garbage. All that the device wrote before the word that tells of it can be read
 * afterwards.
 */
export class DmaPoll {
  readonly #native: Binding = binding();
  readonly #box = new Mailbox(this.#native.mailbox());
  readonly #buffer: PolledMemory;
  readonly #poll: NativeDmaPoll;
  /** The addon's: where the last look began, and where the next one does. */
  readonly #state: Uint32Array;
  #spin: number;

  static {
    defineInspect(this, 'DmaPoll', (poll) => ({
      head: poll.head,
      first: poll.first,
      spin: poll.#spin,
      state: poll.#buffer.disposed ? 'disposed' : 'open',
    }));
  }

  private constructor(buffer: PolledMemory, poll: NativeDmaPoll, state: Uint32Array, spin: number) {
    makeUncloneable(this);
    this.#buffer = buffer;
    this.#poll = poll;
    this.#state = state;
    this.#spin = spin;
    dropped.register(this, poll);
  }

  static #of(buffer: PolledMemory, prepare: () => Answer, spin: number): DmaPoll {
    // Reading the options runs code of the caller's, which may have disposed of the memory.
    if (buffer.disposed) throw disposedError();
    const native = binding();
    const poll = check(prepare(), { syscall: 'dmaPoll' }) as NativeDmaPoll;
    try {
      const state = new Uint32Array(checkBuffer(native.dmaPollState(poll)));
      return new DmaPoll(buffer, poll, state, spin);
    } catch (error) {
      native.dmaPollRelease(poll);
      throw error;
    }
  }

  /** Throws as `DmaBuffer.pollEntries` says. @internal */
  static ofEntries(
    buffer: PolledMemory,
    memory: NativeMemory,
    size: number,
    options: EntryPollOptions,
  ): DmaPoll {
    requireObject('options', options);
    const { offset, width = 32, mask, value, step = 0, spin = 0 } = options;
    const bytes = checkWidth(width);
    const { stride = bytes, count = 1 } = options;
    const { most = count } = options;
    checkMultiple('offset', offset, 0, size - bytes, bytes);
    checkMultiple('stride', stride, bytes, size, bytes);
    checkCount(count, offset, stride, size - offset - bytes);
    checkInteger('most', most, 1, count);
    checkInteger('mask', mask, 1, 2 ** width - 1);
    checkBits('value', value, mask);
    checkBits('step', step, mask);
    checkSpin(spin);
    const layout = Uint32Array.of(0, bytes, mask, value, step, count, most);
    return DmaPoll.#of(buffer, () => binding().dmaPoll(memory, offset, stride, layout), spin);
  }

  /** Throws as `DmaBuffer.pollCounter` says. @internal */
  static ofCounter(
    buffer: PolledMemory,
    memory: NativeMemory,
    size: number,
    options: CounterPollOptions,
  ): DmaPoll {
    requireObject('options', options);
    const { offset, width = 32, value = 0, spin = 0 } = options;
    const bytes = checkWidth(width);
    const { mask = 2 ** width - 1 } = options;
    checkMultiple('offset', offset, 0, size - bytes, bytes);
    checkInteger('mask', mask, 1, 2 ** width - 1);
    if (!Number.isInteger(Math.log2(mask + 1))) {
      throw outOfRange('mask', 'one less than a power of two', mask);
    }
    const { most = mask } = options;
    checkInteger('most', most, 1, mask);
    checkBits('value', value, mask);
    checkSpin(spin);
    const layout = Uint32Array.of(1, bytes, mask, value, 0, 1, most);
    return DmaPoll.#of(buffer, () => binding().dmaPoll(memory, offset, 0, layout), spin);
  }

  /**
   * Where the next look begins: after all that was found. Of a ring the number of the entry, which
   * is also what a device is told of how far its entries were taken; of a counter where it stood.
   */
  get head(): number {
    return this.#state[1] ?? 0;
  }

  /** Where what the last call found begins. Of a ring, its end can be past the ring's last entry. */
  get first(): number {
    return this.#state[0] ?? 0;
  }

  /**
   * For how many microseconds a call waits at most where nothing is new yet, 0 to 1,000; with 0 it
   * looks once. Nothing else runs in this thread meanwhile, so what takes longer should be waited
   * for by an interrupt.
   *
   * @throws TypeError, RangeError when it is set to anything else
   */
  get spin(): number {
    return this.#spin;
  }

  set spin(spin: number) {
    checkSpin(spin);
    this.#spin = spin;
  }

  /**
   * Looks for what is new, and takes it: the next call looks behind it.
   *
   * @returns how many are new; 0 where none is within the time of {@link spin}
   * @throws VfioError `ERR_VFIO_CLOSED` where the memory was disposed of
   */
  poll(): number {
    this.#requireMemory();
    const box = this.#box;
    box.aimPoll(this.#poll, this.#spin);
    this.#native.pollMemory();
    if (box.status !== done) throw this.#broken(box.status);
    return box.found;
  }

  /**
   * Makes prepared accesses, and then polls: one call rings doorbells and gets what the device has
   * done until then.
   *
   * @returns as {@link poll}
   * @throws TypeError
   * @throws VfioError as {@link PreparedAccesses.run}, and nothing is polled then; `ERR_VFIO_CLOSED`
   *   where the memory was disposed of, and nothing is rung then
   */
  ringAndPoll(accesses: PreparedAccesses): number {
    const prepared = PreparedAccesses.handleOf(accesses);
    this.#requireMemory();
    const box = this.#box;
    box.aimPrepared(prepared);
    box.aimPoll(this.#poll, this.#spin);
    this.#native.ringAndPoll();
    if (box.status !== done) throw accesses.failed(box.failedAt, box.status);
    return box.found;
  }

  #requireMemory(): void {
    if (this.#buffer.disposed) throw disposedError();
  }

  #broken(status: number): Error {
    const what = status === refused ? 'refused' : `answered ${status} to`;
    return new Error(`vfio: the addon ${what} a poll of memory; please report this bug`);
  }
}

/** @returns bytes */
function checkWidth(width: unknown): number {
  if (width === 8 || width === 16 || width === 32) return width / 8;
  throw invalidValue('width', '8, 16 or 32', width);
}

function checkMultiple(
  name: string,
  value: unknown,
  least: number,
  most: number,
  of: number,
): void {
  const last = most - (most % of);
  const expected = of === 1 ? undefined : `a multiple of ${of} from ${least} to ${last}`;
  const number = checkInteger(name, value, least, last, expected);
  if (number % of !== 0) throw outOfRange(name, `a multiple of ${of}`, value);
}

/** How many entries fit behind the first, where so much is left of the memory. */
function checkCount(count: unknown, offset: number, stride: number, left: number): void {
  const most = Math.min(2 ** 32 - 1, Math.floor(left / stride) + 1);
  const place = `the memory from offset ${offset} with stride ${stride}`;
  const many = `an integer from 1 to ${most}, which fit ${place}`;
  const expected = most === 1 ? `1: no more fit ${place}` : many;
  checkInteger('count', count, 1, most, expected);
}

function disposedError(): VfioError {
  return new VfioError({ code: 'ERR_VFIO_CLOSED', message: 'the DMA memory was disposed of' });
}

function checkBits(name: string, value: unknown, mask: number): void {
  const number = checkInteger(name, value, 0, mask);
  if ((number & ~mask) === 0) return;
  throw outOfRange(name, `a number with bits of 0x${mask.toString(16)} alone`, value);
}

function checkSpin(spin: unknown): void {
  checkInteger('spin', spin, 0, mostSpin, `whole microseconds from 0 to ${mostSpin}`);
}

/** Nobody can poll any more. */
const dropped = new FinalizationRegistry<NativeDmaPoll>((poll) => {
  binding().dmaPollRelease(poll);
});
