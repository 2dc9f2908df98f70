import { checkSignal, checkTimeout, requireObject } from '../core/arguments.ts';
import { onAbort } from '../core/aborts.ts';
import { abortReason, throwIfAborted } from '../core/readiness.ts';

/** How long to wait for interrupts. */
export interface VectorWaitOptions {
  /**
   * Milliseconds, up to 2,147,483,647; without it the wait has no end. 0 looks once, and waits for
   * nothing.
   */
  timeout?: number | undefined;
  /** Ends the wait with its reason. */
  signal?: AbortSignal | undefined;
}

/** @throws TypeError, RangeError; the reason of a signal that is aborted already */
export function checkWait(options: VectorWaitOptions): VectorWaitOptions {
  requireObject('options', options);
  const { timeout, signal } = options;
  if (timeout !== undefined) checkTimeout(timeout);
  checkSignal(signal);
  throwIfAborted(signal);
  return { timeout, signal };
}

/** One who waits. */
interface Wait {
  resolve: (count: number | Promise<never>) => void;
  reject: (reason: unknown) => void;
}

interface Waiting extends Wait {
  timer: NodeJS.Timeout | undefined;
  /** The signal's abort is of no interest any more. */
  unhear: (() => void) | undefined;
}

/** Those who wait for the next count of a vector: each is told the same. */
export class Waits {
  readonly #waiting = new Set<Waiting>();
  readonly #released: () => void;

  /** `released` is called whenever one waits no more, but for {@link tell} and {@link end}. */
  constructor(released: () => void) {
    this.#released = released;
  }

  get size(): number {
    return this.#waiting.size;
  }

  /**
   * `last` is called when the time is up, for what was counted meanwhile; `late` makes the error
   * where that was nothing. No time at all is up at once.
   */
  add(
    wait: Wait,
    { timeout, signal }: VectorWaitOptions,
    last: () => void,
    late: () => Error,
  ): void {
    const waiting: Waiting = { ...wait, timer: undefined, unhear: undefined };
    this.#waiting.add(waiting);
    if (timeout === 0) {
      this.#takeLast(waiting, last);
      this.#fail(waiting, late);
      return;
    }
    if (timeout !== undefined) {
      // What is polled keeps the loop alive, where that is wanted.
      waiting.timer = setTimeout(() => {
        this.#takeLast(waiting, last);
        this.#end(waiting, () => {
          waiting.resolve(failingLater(late));
        });
      }, timeout).unref();
    }
    if (signal === undefined) return;
    waiting.unhear = onAbort(signal, () => {
      this.#fail(waiting, () => abortReason(signal));
    });
  }

  /** Nobody waits any more then: who is told goes on later. */
  tell(count: number): void {
    for (const waiting of this.#waiting) {
      this.#waiting.delete(waiting);
      forget(waiting);
      waiting.resolve(count);
    }
  }

  /** There will be no more counts. */
  end(reason: () => Error): void {
    for (const waiting of this.#waiting) {
      this.#waiting.delete(waiting);
      forget(waiting);
      waiting.reject(reason());
    }
  }

  #takeLast(waiting: Waiting, last: () => void): void {
    try {
      last();
    } catch (error) {
      this.#fail(waiting, () => error);
    }
  }

  #fail(waiting: Waiting, reason: () => unknown): void {
    this.#end(waiting, () => {
      waiting.reject(reason());
    });
  }

  /** Where it was not told meanwhile. */
  #end(waiting: Waiting, settle: () => void): void {
    if (!this.#waiting.delete(waiting)) return;
    forget(waiting);
    settle();
    this.#released();
  }
}

const settled = Promise.resolve();

/**
 * Fails when it was handed on to who awaits, by which V8 finds their frames for the error's stack:
 * a timer was called by nobody. A promise that resolves another is heard of in the second turn.
 */
async function failingLater(make: () => Error): Promise<never> {
  await settled;
  await settled;
  throw make();
}

function forget({ timer, unhear }: Waiting): void {
  if (timer) clearTimeout(timer);
  unhear?.();
}
