import { setTimeout } from 'node:timers/promises';

import { consoleText } from './console-log.ts';
import { LabError } from './failure.ts';

/** QEMU 7.2 loses an interrupt of a processor's timer once in a great while. */
const HUNG = 'and the guest hung; the VM was stopped';

/**
 * What Linux prints when an emulated processor gets no more interrupts of its timer, and those of
 * devices no more either: the guest waits for ever.
 */
const STALL = /rcu_\w+ kthread timer wakeup didn't happen/g;
/**
 * Linux tells of it anew after a minute. Of one that is told once it may recover: the host was
 * busy.
 */
const TOLD = 2;

const LOOK_MILLISECONDS = 2000;

/**
 * Looks at a growing console log and throws when it tells of a stall that lasts, or when the signal
 * comes.
 */
export async function watchForStall(
  consoleLog: string,
  signal: AbortSignal,
  lookMilliseconds: number = LOOK_MILLISECONDS,
): Promise<never> {
  for (;;) {
    await setTimeout(lookMilliseconds, undefined, { signal });
    const told = (await consoleText(consoleLog)).match(STALL) ?? [];
    if (told.length < TOLD) continue;
    throw new LabError(`an emulated processor lost its timer, ${HUNG}`);
  }
}

/**
 * The processors of a guest, of which each tells again and again that it lives. Where all are idle
 * Linux does not see that one of them lost its timer, and prints nothing.
 */
export class Heartbeats {
  /** How many looks ago each was heard. */
  readonly #silent = new Map<string, number>();
  /** How often nothing may be heard of a processor, one look after the other. */
  readonly #mostLooks: number;

  constructor(silenceSeconds: number) {
    this.#mostLooks = Math.ceil((silenceSeconds * 1000) / LOOK_MILLISECONDS);
  }

  heard(processor: string): void {
    this.#silent.set(processor, 0);
  }

  /** Throws when a processor is heard no more, or when the signal comes. */
  async watch(signal: AbortSignal, lookMilliseconds: number = LOOK_MILLISECONDS): Promise<never> {
    for (;;) {
      await setTimeout(lookMilliseconds, undefined, { signal });
      for (const [processor, looks] of this.#silent) {
        if (looks === this.#mostLooks)
          throw new LabError(`the emulated processor ${processor} does nothing any more, ${HUNG}`);
        this.#silent.set(processor, looks + 1);
      }
    }
  }
}
