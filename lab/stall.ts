import { setTimeout } from 'node:timers/promises';

import { consoleText } from './console-log.ts';
import { LabError } from './failure.ts';

/**
 * What Linux prints when an emulated processor gets no more interrupts of its timer, and those of
 * devices no more either: QEMU 7.2 comes to that once in a great while, and then the guest waits
 * for ever.
 */
const STALL = /rcu_\w+ kthread timer wakeup didn't happen/g;
/**
 * Linux tells of it anew after a minute. Of one that is told once it may recover: the host was
 * busy.
 */
const TOLD = 2;

/**
 * Looks at a growing console log and throws when it tells of a stall that lasts, or when the signal
 * comes.
 */
export async function watchForStall(
  consoleLog: string,
  signal: AbortSignal,
  lookMilliseconds = 2000,
): Promise<never> {
  for (;;) {
    await setTimeout(lookMilliseconds, undefined, { signal });
    const told = (await consoleText(consoleLog)).match(STALL) ?? [];
    if (told.length < TOLD) continue;
    const message = 'an emulated processor lost its timer, and the guest hung; the VM was stopped';
    throw new LabError(message);
  }
}
