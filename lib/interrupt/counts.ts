import { onAbort } from '../core/aborts.ts';
import { abortReason } from '../core/readiness.ts';

interface Waiter {
  resolve: (result: IteratorResult<number, undefined>) => void;
  reject: (reason: unknown) => void;
}

/**
 * What `for await` over a vector's interrupts takes. Interrupts between two turns are added up, so
 * that nothing grows however slow the reader is, and none is lost.
 */
export class Counts implements AsyncIterableIterator<number, undefined> {
  #pending = 0;
  #ended = false;
  #failure: { reason: unknown } | undefined;
  readonly #waiters: Waiter[] = [];
  readonly #signal: AbortSignal | undefined;
  readonly #unhear: (() => void) | undefined;
  readonly #released: (counts: Counts) => void;

  /** `released` is called once, when no more counts are wanted. */
  constructor(released: (counts: Counts) => void, signal?: AbortSignal) {
    this.#released = released;
    this.#signal = signal;
    this.#unhear = signal && onAbort(signal, this.#abort);
  }

  add(count: number): void {
    const waiter = this.#waiters.shift();
    if (waiter) waiter.resolve({ value: count, done: false });
    else this.#pending += count;
  }

  /** What is pending is still told; then the loop is over. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#unhear?.();
    this.#released(this);
    for (const { resolve } of this.#waiters.splice(0)) resolve({ value: undefined, done: true });
  }

  /** One who waits, or the next who asks, hears the reason; then the loop is over. */
  fail(reason: unknown): void {
    const waiter = this.#waiters.shift();
    if (waiter) waiter.reject(reason);
    else this.#failure = { reason };
    this.end();
  }

  next(): Promise<IteratorResult<number, undefined>> {
    if (this.#pending > 0) {
      const value = this.#pending;
      this.#pending = 0;
      return Promise.resolve({ value, done: false });
    }
    const failure = this.#failure;
    this.#failure = undefined;
    // The caller's own reason, whatever it is.
    // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors
    if (failure) return Promise.reject(failure.reason);
    if (this.#ended) return Promise.resolve({ value: undefined, done: true });
    return new Promise((resolve, reject) => {
      this.#waiters.push({ resolve, reject });
    });
  }

  return(): Promise<IteratorResult<number, undefined>> {
    this.#pending = 0;
    this.end();
    return Promise.resolve({ value: undefined, done: true });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  readonly #abort = (): void => {
    this.#pending = 0;
    this.fail(this.#signal && abortReason(this.#signal));
  };
}
