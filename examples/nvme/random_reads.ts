import { encodeTransfer, io } from './commands.ts';
import type { NamespaceInfo } from './identify.ts';
import type { DataArea } from './io_queue.ts';
import type { PrpTable } from './prp.ts';
import type { OnCompletion, QueuePair } from './queue.ts';
import { type ControllerRegisters, statusProblem } from './registers.ts';
import { NvmeError } from './status.ts';

export interface RandomReadsOptions {
  /** Nobody else looks at it: whoever takes a completion is the one who has to know its command. */
  pair: QueuePair;
  /** Say why reads do not end. */
  registers: ControllerRegisters;
  prps: PrpTable;
  namespace: NamespaceInfo;
  /** Of one read. */
  bytes: number;
  /** How many reads are under way at a time; less than the queue has entries. */
  depth: number;
  /** `depth` times `bytes`. */
  data: DataArea;
}

/** Looks at the ring between two looks at the clock. */
const looks = 256;
/** Milliseconds between two looks at the controller, where reads do not end. */
const patience = 10;

/**
 * Reads at random places, as fast as a loop can: the way without promises. Commands are encoded into
 * the ring, their memory is set once, completions come by a function that is made once, and a
 * doorbell is rung for all that one look at the ring brought.
 *
 * A loop that never lets go keeps the event loop from everything else, the device's `request` among
 * it: {@link run} is to be called for some milliseconds at a time.
 */
export class RandomReads {
  /** Reads that are done, and those of them that failed. */
  done = 0;
  errors = 0;
  /** Is told how many milliseconds each read took; what that costs, only who sets it pays. */
  onDone: ((milliseconds: number) => void) | undefined;
  readonly #options: RandomReadsOptions;
  readonly #blocks: number;
  readonly #places: number;
  readonly #began: Float64Array;
  #state = 0x9e37_79b9;
  /** Reads that are to be begun; 0 to come to an end. */
  #depth = 0;

  constructor(options: RandomReadsOptions) {
    const { prps, namespace, bytes, depth, data } = options;
    this.#options = options;
    this.#began = new Float64Array(depth);
    this.#blocks = bytes / namespace.blockSize;
    this.#places = Math.floor(namespace.blocks / this.#blocks);
    for (let id = 0; id < depth; id++) prps.set(id, data.iova + BigInt(id * bytes), bytes);
  }

  /** Goes on for so many milliseconds. Reads stay under way. */
  run(milliseconds: number): void {
    this.begin();
    const until = performance.now() + milliseconds;
    do {
      // Looking at the clock costs as much as a few reads.
      for (let each = 0; each < looks; each++) this.look();
    } while (performance.now() < until);
  }

  /** Puts reads under way, as many as there shall be. */
  begin(): void {
    for (; this.#depth < this.#options.depth; this.#depth++) this.#begin(this.#depth);
  }

  /** Has done reads followed by others, and answers how many were done. */
  look(): number {
    return this.#options.pair.look(this.#again);
  }

  /**
   * Waits for what is under way, in a loop that hears nothing else, as long as the controller works
   * and for so many milliseconds at most: memory does not tell that nobody writes to it any more.
   *
   * @throws NvmeError also at once where the controller is off, has failed, or is gone
   */
  finish(timeout = 10_000): void {
    const { pair } = this.#options;
    const begun = performance.now();
    for (let next = begun + patience; this.#depth > 0;) {
      for (let each = 0; each < looks && this.#depth > 0; each++) pair.look(this.#last);
      const now = performance.now();
      if (this.#depth === 0 || now < next) continue;
      this.#requireWorking(now - begun >= timeout);
      next = now + patience;
    }
    // What was taken last is told here.
    pair.look(this.#last);
  }

  #requireWorking(isLate: boolean): void {
    const problem = statusProblem(this.#options.registers);
    const reads = `${this.#depth} reads did not end`;
    if (problem) throw new NvmeError(problem.code, `${reads}: ${problem.text}`);
    if (isLate) throw new NvmeError('timeout', `${reads} in their time`);
  }

  readonly #again: OnCompletion = (id, status) => {
    this.#count(status);
    this.onDone?.(performance.now() - (this.#began[id] ?? 0));
    this.#begin(id);
  };

  readonly #last: OnCompletion = (_, status) => {
    this.#count(status);
    this.#depth--;
  };

  #count(status: number): void {
    this.done++;
    if (status !== 0) this.errors++;
  }

  #begin(id: number): void {
    const { pair, prps, namespace } = this.#options;
    const { next, submissions } = pair;
    if (this.onDone) this.#began[id] = performance.now();
    const block = (this.#random() % this.#places) * this.#blocks;
    encodeTransfer(
      submissions,
      next,
      id,
      io.read,
      namespace.id,
      block,
      this.#blocks,
      prps.words,
      id * 4,
    );
    pair.push();
  }

  /** Marsaglia's xorshift of 32 bits, of which 31 are taken: engines divide small integers fast. */
  #random(): number {
    let state = this.#state;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#state = state;
    return state >>> 1;
  }
}
