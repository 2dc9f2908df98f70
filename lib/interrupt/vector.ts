import { EventEmitter } from 'node:events';
import { checkSignal, requireObject } from '../core/arguments.ts';
import { defineInspect } from '../core/inspect_handle.ts';
import { abortReason, throwIfAborted } from '../core/readiness.ts';
import type { Cause } from '../core/reasons.ts';
import type { Eventfd } from './eventfd.ts';

/** What a vector tells. */
export interface VectorEvents {
  /** How many interrupts there were since the last count. */
  interrupt: [count: number];
}

type Listener = (this: InterruptVector, count: number) => void;

/**
 * One vector of an enabled interrupt. Its interrupts are counted by an eventfd of its own;
 * listening, or iterating, has the event loop poll that. What happens faster than JavaScript runs
 * is added up and told as one count; nothing is queued, nothing is lost.
 *
 * While nobody listens here the counts stay in the eventfd: for the first who does, or for the
 * program that `fd` was handed to.
 */
export class InterruptVector extends EventEmitter<VectorEvents> implements AsyncIterable<number> {
  /**
   * Whose vector it is, the {@link Interrupt}: this keeps the device open while somebody listens.
   */
  readonly interrupt: { readonly name: string; readonly index: number };
  /** Which of its vectors. */
  readonly index: number;
  readonly #event: Eventfd;
  /**
   * Made when the first is: with thousands of vectors every object that an event touches counts.
   */
  #iterators: Set<Counts> | undefined;
  /**
   * The listener, where there is one; undefined where that is to be looked up, or there are
   * several.
   */
  #only: Listener | undefined;
  #isLookedUp = false;
  #watched = false;
  #ref = true;
  #ended = false;

  static {
    defineInspect(this, 'InterruptVector', (vector) => {
      const { interrupt, index } = vector;
      const listeners = vector.listenerCount('interrupt') + (vector.#iterators?.size ?? 0);
      const state = vector.#ended ? 'closed' : 'open';
      return { interrupt: interrupt.name, index, listeners, state };
    });
  }

  private constructor(interrupt: InterruptVector['interrupt'], index: number, event: Eventfd) {
    super();
    this.interrupt = interrupt;
    this.index = index;
    this.#event = event;
    this.#followListeners();
  }

  /** @internal */
  static of(
    interrupt: InterruptVector['interrupt'],
    index: number,
    event: Eventfd,
  ): InterruptVector {
    return new InterruptVector(interrupt, index, event);
  }

  /**
   * The eventfd's number, to hand to another program or to KVM. The vector stays its owner and
   * closes it when the interrupt is disabled. Who listens here as well takes counts away from the
   * other.
   *
   * @throws VfioError `ERR_VFIO_CLOSED` when the interrupt is disabled
   */
  get fd(): number {
    return this.#event.number;
  }

  /** Listening keeps the event loop alive, as it does from the start. */
  ref(): this {
    return this.#setRef(true);
  }

  /** Listening does not keep the event loop alive. */
  unref(): this {
    return this.#setRef(false);
  }

  /**
   * The counts, for `for await`: each is the number of interrupts since the one before. The loop is
   * over when the interrupt is disabled; aborting throws the signal's reason into it.
   */
  counts(options: { signal?: AbortSignal | undefined } = {}): AsyncIterableIterator<number> {
    requireObject('options', options);
    const { signal } = options;
    checkSignal(signal);
    throwIfAborted(signal);
    const counts = new Counts((ended) => {
      this.#iterators?.delete(ended);
      this.#watchIfWanted();
    }, signal);
    this.#iterators ??= new Set();
    if (this.#ended) counts.end();
    else this.#iterators.add(counts);
    this.#watchIfWanted();
    return counts;
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<number> {
    return this.counts();
  }

  override removeAllListeners(event?: keyof VectorEvents): this {
    if (event === undefined) super.removeAllListeners();
    else super.removeAllListeners(event);
    this.#followListeners();
    this.#changed();
    return this;
  }

  /**
   * The interrupt is off: tells what was counted before, ends the iterators, closes the eventfd.
   *
   * @internal
   */
  end(cause?: Cause): void {
    if (this.#ended) return;
    if (this.#isWanted()) {
      const last = this.#event.read();
      if (last > 0) this.#deliver(last);
    }
    this.#ended = true;
    this.#watched = false;
    this.#event.close(cause);
    for (const counts of this.#readers()) counts.end();
  }

  #followListeners(): void {
    const bare = this as EventEmitter;
    bare.off('newListener', this.#isAdded).on('newListener', this.#isAdded);
    bare.off('removeListener', this.#isRemoved).on('removeListener', this.#isRemoved);
  }

  /** The emitter tells of a new listener before it has it. */
  readonly #isAdded = (name: unknown): void => {
    if (name !== 'interrupt') return;
    this.#isLookedUp = false;
    this.#watch(true);
  };

  /** And of a removed one after. */
  readonly #isRemoved = (name: unknown): void => {
    if (name === 'interrupt') this.#changed();
  };

  #changed(): void {
    this.#isLookedUp = false;
    this.#watchIfWanted();
  }

  /** Those who iterate now: what they do may change who does. */
  #readers(): Counts[] {
    return this.#iterators === undefined ? [] : [...this.#iterators];
  }

  /** A single listener is called without the emitter, whose table is two cache misses more. */
  #lookUp(): void {
    const [first, ...more] = this.rawListeners('interrupt') as Listener[];
    // The emitter looks after what async listeners reject with, where it was told to.
    const isPlain = more.length === 0 && !EventEmitter.captureRejections;
    this.#only = isPlain ? first : undefined;
    this.#isLookedUp = true;
  }

  #isWanted(): boolean {
    return this.listenerCount('interrupt') > 0 || this.#readers().length > 0;
  }

  #watchIfWanted(): void {
    this.#watch(this.#isWanted());
  }

  #watch(wanted: boolean): void {
    if (this.#ended || wanted === this.#watched) return;
    this.#watched = wanted;
    if (wanted) this.#event.watch(this.#deliver, this.#ref);
    else this.#event.unwatch();
  }

  #setRef(ref: boolean): this {
    this.#ref = ref;
    if (this.#watched) this.#event.ref(ref);
    return this;
  }

  readonly #deliver = (count: number): void => {
    if (this.#iterators !== undefined) {
      for (const counts of this.#readers()) counts.add(count);
    }
    if (!this.#isLookedUp) this.#lookUp();
    try {
      if (this.#only !== undefined) this.#only(count);
      else this.emit('interrupt', count);
    } catch (error) {
      // To `uncaughtException`, wherever this was called from; after what the handler left for
      // later.
      queueMicrotask(() => {
        throw error;
      });
    }
  };
}

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
  readonly #released: (counts: Counts) => void;

  /** `released` is called once, when no more counts are wanted. */
  constructor(released: (counts: Counts) => void, signal?: AbortSignal) {
    this.#released = released;
    this.#signal = signal;
    signal?.addEventListener('abort', this.#abort);
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
    this.#signal?.removeEventListener('abort', this.#abort);
    this.#released(this);
    for (const { resolve } of this.#waiters.splice(0)) resolve({ value: undefined, done: true });
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

  /** Those who wait hear the reason; if nobody does, the next who asks. */
  readonly #abort = (): void => {
    const reason = this.#signal && abortReason(this.#signal);
    const waiter = this.#waiters.shift();
    if (waiter) waiter.reject(reason);
    else this.#failure = { reason };
    this.#pending = 0;
    this.end();
  };
}
