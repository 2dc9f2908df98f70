import { setTimeout as delay } from 'node:timers/promises';
import type { Answer } from '../binding.ts';

const EAGAIN = -11;
const EBUSY = -16;

/** A lock that another task holds for a moment: tried again so often, so far apart. */
const attempts = 20;
const pause = 10;

/**
 * Makes a call again while a lock of the kernel's is held by somebody else (EAGAIN, EBUSY), until it
 * is clear that it will not be free: the device is wanted back, or the time is up.
 */
export async function withRetries<T>(
  call: () => Promise<T | number> | undefined,
  isHopeless: () => boolean,
): Promise<T | Answer> {
  for (let left = attempts; ; left--) {
    const answer = await call();
    if (!isHeld(answer) || left === 1 || isHopeless()) return answer;
    await delay(pause);
  }
}

/** As {@link withRetries}, blocking. */
export function withRetriesSync<T>(call: () => T | Answer, isHopeless: () => boolean): T | Answer {
  for (let left = attempts; ; left--) {
    const answer = call();
    if (!isHeld(answer) || left === 1 || isHopeless()) return answer;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, pause);
  }
}

export function isHeld(answer: unknown): boolean {
  return answer === EAGAIN || answer === EBUSY;
}
