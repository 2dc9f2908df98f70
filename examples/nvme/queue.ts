import type { DmaBuffer, DmaPoll, MappedRegion, PreparedAccesses } from 'vfio';
import { commandWords } from './commands.ts';
import { doorbellOffsets } from './registers.ts';

const page = 4096;
const completionWords = 4;
/** In the last word of a completion: it changes with every round (section 3.3.3.2.1). */
const phaseBit = 0x1_0000;

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
 * The order that matters: commands are stored before the doorbell is written, and the library's
 * writes to a device come after every earlier store. What the device wrote before a completion's
 * phase bit, the data that was read, can be read after the poll that found the completion. An entry
 * is not used again before its command is completed, for there are never more commands under way
 * than entries. docs/drivers.md says more.
 */
export class QueuePair {
  readonly id: number;
  readonly entries: number;
  /** The submission ring: {@link next} says where in it the next command goes. */
  readonly submissions: Uint32Array;
  readonly #completions: Uint32Array;
  readonly #buffer: DmaBuffer;
  readonly #tailDoorbell: PreparedAccesses;
  readonly #headDoorbell: PreparedAccesses;
  readonly #bothDoorbells: PreparedAccesses;
  #poll: DmaPoll;
  #tail = 0;
  #head = 0;
  /** What the controller was told of either. */
  #toldTail = 0;
  #toldHead = 0;
  #underWay = 0;

  constructor(bar: MappedRegion, id: number, stride: number, buffer: DmaBuffer, entries: number) {
    const { completionsAt } = ringLayout(entries);
    const doorbells = doorbellOffsets(id, stride);
    const tail = { op: 'write', offset: doorbells.submission } as const;
    const head = { op: 'write', offset: doorbells.completion } as const;
    this.id = id;
    this.entries = entries;
    this.submissions = new Uint32Array(buffer.buffer, 0, entries * commandWords);
    this.#completions = new Uint32Array(buffer.buffer, completionsAt, entries * completionWords);
    this.#buffer = buffer;
    this.#tailDoorbell = bar.prepare([tail]);
    this.#headDoorbell = bar.prepare([head]);
    this.#bothDoorbells = bar.prepare([tail, head]);
    this.#poll = this.#newPoll();
  }

  /** How many more commands fit: one entry stays free, or a full ring would look like an empty one. */
  get room(): number {
    return this.entries - 1 - this.#underWay;
  }

  /** Where in {@link submissions} the next command is to be written, which {@link push} then adds. */
  get next(): number {
    return this.#tail * commandWords;
  }

  /** Adds the command at {@link next}. The controller does not see it before a doorbell rings. */
  push(): void {
    this.#tail = this.#tail + 1 === this.entries ? 0 : this.#tail + 1;
    this.#underWay++;
  }

  /** Tells the controller of all that was pushed. */
  ring(): void {
    if (this.#tail === this.#toldTail) return;
    this.#toldTail = this.#tailDoorbell.values[0] = this.#tail;
    this.#tailDoorbell.run();
  }

  /**
   * Tells the controller of what was pushed and of what was taken, takes what it has completed, and
   * answers how much that was. A doorbell is an uncached write, which costs more than the command:
   * one for all that a look brought is what makes deep queues fast. So the entries that this look
   * takes are given back by the next, together with the commands that `take` pushed.
   */
  look(take: OnCompletion): number {
    const count = this.#ringAndPoll();
    const { entries } = this;
    const completions = this.#completions;
    let head = this.#head;
    // Before `take` has any of them: the poll is past them all, whatever it throws.
    this.#head = head + count < entries ? head + count : head + count - entries;
    this.#underWay -= count;
    for (let each = 0; each < count; each++) {
      const at = head * completionWords;
      const last = completions[at + 3] ?? 0;
      const result = completions[at] ?? 0;
      head = head + 1 === entries ? 0 : head + 1;
      take(last & 0xffff, last >>> 17, result);
    }
    return count;
  }

  /** Empties both rings: the controller was reset and knows neither any more. */
  clear(): void {
    this.submissions.fill(0);
    this.#completions.fill(0);
    this.#tail = this.#toldTail = this.#head = this.#toldHead = this.#underWay = 0;
    this.#poll = this.#newPoll();
  }

  /** One call into the addon, whatever there is to tell. */
  #ringAndPoll(): number {
    const isPushed = this.#tail !== this.#toldTail;
    const isTaken = this.#head !== this.#toldHead;
    if (!isPushed && !isTaken) return this.#poll.poll();
    const tail = (this.#toldTail = this.#tail);
    const head = (this.#toldHead = this.#head);
    if (!isTaken) {
      this.#tailDoorbell.values[0] = tail;
      return this.#poll.ringAndPoll(this.#tailDoorbell);
    }
    if (!isPushed) {
      this.#headDoorbell.values[0] = head;
      return this.#poll.ringAndPoll(this.#headDoorbell);
    }
    this.#bothDoorbells.values[0] = tail;
    this.#bothDoorbells.values[1] = head;
    return this.#poll.ringAndPoll(this.#bothDoorbells);
  }

  #newPoll(): DmaPoll {
    return this.#buffer.pollEntries({
      offset: ringLayout(this.entries).completionsAt + (completionWords - 1) * 4,
      stride: completionWords * 4,
      count: this.entries,
      mask: phaseBit,
      value: phaseBit,
      step: phaseBit,
    });
  }
}
