import { open } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';

import { LabError } from './failure.ts';

/**
 * What Linux prints when an emulated processor gets no more interrupts of its timer, and those of devices no
 * more either: QEMU 7.2 comes to that once in a great while, and then the guest waits for ever.
 */
const STALL = /rcu_\w+ kthread timer wakeup didn't happen/g;
/** Linux tells of it anew after a minute. Of one that is told once it may recover: the host was busy. */
const TOLD = 2;

/** Looks at a growing console log and throws when it tells of a stall that lasts, or when the signal comes. */
export async function watchForStall(
  consoleLog: string,
  signal: AbortSignal,
  lookMilliseconds = 2000,
): Promise<never> {
  let text = '';
  for (;;) {
    await setTimeout(lookMilliseconds, undefined, { signal });
    text += await textFrom(consoleLog, text.length);
    if ((text.match(STALL) ?? []).length < TOLD) continue;
    const message = 'an emulated processor lost its timer, and the guest hung; the VM was stopped';
    throw new LabError(message);
  }
}

/** Nothing where QEMU has not made the file yet. */
async function textFrom(path: string, position: number): Promise<string> {
  try {
    await using file = await open(path);
    const { size } = await file.stat();
    const bytes = Buffer.alloc(Math.max(0, size - position));
    const { bytesRead } = await file.read(bytes, 0, bytes.length, position);
    // A character a byte, so that the length says where to go on.
    return bytes.toString('latin1', 0, bytesRead);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}
