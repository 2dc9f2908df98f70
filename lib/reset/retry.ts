import { pause, type Steps } from '../steps.ts';

const EAGAIN = -11;
const EBUSY = -16;

/** A lock that another task holds for a moment: tried again so often, so far apart. */
const attempts = 20;
const milliseconds = 10;

/**
 * Makes a call again while a lock of the kernel's is held by somebody else (EAGAIN, EBUSY), until it
 * is clear that it will not be free, or the time is up.
 */
export function* withRetries<T>(call: () => Steps<T>, isHopeless: () => boolean): Steps<T> {
  for (let left = attempts; ; left--) {
    const answer = yield* call();
    if (!isHeld(answer) || left === 1 || isHopeless()) return answer;
    yield* pause(milliseconds);
  }
}

export function isHeld(answer: unknown): boolean {
  return answer === EAGAIN || answer === EBUSY;
}
