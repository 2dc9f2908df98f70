import { commandWords } from './commands.ts';
import { doorbellOffsets } from './registers.ts';

/** Whatever takes doorbells: the mapped BAR. */
export interface Doorbells {
  write32(offset: number, value: number): void;
}

const page = 4096;
const completionWords = 4;

/** Where in a queue pair's memory its two rings are, and how much of it they take. */
export function ringLayout(entries: number): { completionsAt: number; bytes: number } {
  // Each ring starts at a page, as a physically contiguous queue has to (base specification 5.4).
  const completionsAt = Math.ceil((entries * commandWords * 4) / page) * page;
  const bytes = completionsAt + Math.ceil((entries * completionWords * 4) / page) * page;
  return { completionsAt, bytes };
}

/** Takes a completion: whose it is, its 15 status bits (0 for success) and its first word. */
export type OnCompletion = (id: number, status: number, result: number) => void;

/**
 * A submission queue and the completion queue that answers it, as rings in DMA memory (base
 * specification 2.0, section 3.3). Plain memory and numbers: nothing here makes an object for a
 * command, and nothing waits.
 *
 * The order that matters is kept by four things. Entries are stored before the doorbell is written,
 * and the library's writes to a device come after every earlier store. The phase bit is in the same
 * word as the identifier and the status, so one load has all three. What the device stored before
 * that word, the data that was read, is loaded after it because of the `Atomics.load` below. And an
 * entry is not used again before the completion says that the controller took it, since there are
 * never more commands under way than entries.
 */
export class QueuePair {
  readonly id: number;
  readonly entries: number;
  /** The submission ring: {@link next} says where in it the next command goes. */
  readonly submissions: Uint32Array;
  readonly #completions: Uint32Array;
  readonly #bar: Doorbells;
  readonly #tailDoorbell: number;
  readonly #headDoorbell: number;
  #tail = 0;
  /** What the controller was told. */
  #rung = 0;
  #head = 0;
  /** The phase bit of new completions: it changes with every round (section 3.3.3.2.1). */
  #phase = 0x1_0000;
  #underWay = 0;

  constructor(bar: Doorbells, id: number, stride: number, memory: ArrayBuffer, entries: number) {
    const { completionsAt } = ringLayout(entries);
    const doorbells = doorbellOffsets(id, stride);
    this.id = id;
    this.entries = entries;
    this.submissions = new Uint32Array(memory, 0, entries * commandWords);
    this.#completions = new Uint32Array(memory, completionsAt, entries * completionWords);
    this.#bar = bar;
    this.#tailDoorbell = doorbells.submission;
    this.#headDoorbell = doorbells.completion;
  }

  /** How many more commands fit: one entry stays free, or a full ring would look like an empty one. */
  get room(): number {
    return this.entries - 1 - this.#underWay;
  }

  /** Where in {@link submissions} the next command is to be written, which {@link push} then adds. */
  get next(): number {
    return this.#tail * commandWords;
  }

  /** Adds the command at {@link next}. The controller does not see it before {@link ring}. */
  push(): void {
    this.#tail = this.#tail + 1 === this.entries ? 0 : this.#tail + 1;
    this.#underWay++;
  }

  /**
   * Tells the controller of all that was pushed. A doorbell is an uncached write, which costs more
   * than the command: one for a batch is what makes deep queues fast.
   */
  ring(): void {
    if (this.#tail === this.#rung) return;
    this.#rung = this.#tail;
    this.#bar.write32(this.#tailDoorbell, this.#tail);
  }

  /**
   * Takes what was completed, and answers how much. The controller is told once, after all of them:
   * the entries are its own again only then.
   */
  reap(take: OnCompletion): number {
    const completions = this.#completions;
    const count = this.#countNew();
    if (count === 0) return 0;
    for (let each = 0; each < count; each++) {
      const at = this.#head * completionWords;
      const last = completions[at + 3] ?? 0;
      const result = completions[at] ?? 0;
      this.#advance();
      take(last & 0xffff, last >>> 17, result);
    }
    this.#bar.write32(this.#headDoorbell, this.#head);
    return count;
  }

  /** Empties both rings: the controller was reset and knows neither any more. */
  clear(): void {
    this.submissions.fill(0);
    this.#completions.fill(0);
    this.#tail = this.#rung = this.#head = this.#underWay = 0;
    this.#phase = 0x1_0000;
  }

  /** New completions, to the end of the ring at most. */
  #countNew(): number {
    const completions = this.#completions;
    let at = this.#head;
    while (at < this.entries && this.#isNew(completions[at * completionWords + 3] ?? 0)) at++;
    const count = at - this.#head;
    // A load that later loads do not overtake: what the device wrote before this word is seen by
    // whoever reads it from now on. One for all of them; on x86 it is an ordinary load.
    if (count > 0) Atomics.load(completions, (at - 1) * completionWords + 3);
    return count;
  }

  #isNew(last: number): boolean {
    return (last & 0x1_0000) === this.#phase;
  }

  #advance(): void {
    this.#underWay--;
    if (++this.#head < this.entries) return;
    this.#head = 0;
    this.#phase ^= 0x1_0000;
  }
}
