import { EventEmitter } from 'node:events';
import { checkSignal, requireObject } from '../core/arguments.ts';
import { defineInspect } from '../core/inspect_handle.ts';
import { closedError, explained, VfioError } from '../core/errors.ts';
import { throwIfAborted } from '../core/readiness.ts';
import type { Cause } from '../core/reasons.ts';
import { type SharedToken, tokenOf } from '../core/shared_token.ts';
import { doAll } from '../core/steps.ts';
import { makeUncloneable } from '../core/uncloneable.ts';
import { Counts } from './counts.ts';
import type { Eventfd } from './eventfd.ts';
import { type Lifeline, makeLifeline } from './lifeline.ts';
import { checkWait, type VectorWaitOptions, Waits } from './waits.ts';

/** What a vector tells. */
export interface VectorEvents {
  /** How many interrupts there were since the last count. */
  interrupt: [count: number];
}

/** Its microtasks cost less than those of `queueMicrotask`, each of which is an async resource. */
const settled = Promise.resolve();

type Listener = (this: InterruptVector, count: number) => void;

/**
 * One vector of an enabled interrupt. Its interrupts are counted by an eventfd of its own;
 * listening, or iterating, has the event loop poll that. What happens faster than JavaScript runs
 * is added up and told as one count; nothing is queued, nothing is lost.
 *
 * While nobody listens here the counts stay in the eventfd: for the first who does, for the program
 * that `fd` was handed to, or for the thread that it is shared with. Of the threads one listens at a
 * time, and takes all that comes meanwhile: in another `on()`, `counts()` and `wait()` throw
 * `ERR_VFIO_VECTOR_BUSY` until it stops or ends.
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
  #waits: Waits | undefined;
  /**
   * The listener, where there is one; undefined where that is to be looked up, or there are
   * several.
   */
  #only: Listener | undefined;
  #isLookedUp = false;
  /** Whether there is no listener; likewise. */
  #isUnheard = false;
  /** Whether the addon itself calls the listener. */
  #isBypassed = false;
  #watched = false;
  #ref = true;
  #ended = false;
  #cause: Cause | undefined;
  /** How other threads hear that it is over; made when it is shared. */
  #lifeline: Lifeline | undefined;
  readonly #whyNone: (() => Cause | undefined) | undefined;

  static {
    defineInspect(this, 'InterruptVector', (vector) => vector.inspected());
  }

  /** @internal */
  protected constructor(
    interrupt: InterruptVector['interrupt'],
    index: number,
    event: Eventfd,
    {
      lifeline,
      whyNone,
    }: { lifeline?: Lifeline; whyNone?: (() => Cause | undefined) | undefined } = {},
  ) {
    super();
    makeUncloneable(this);
    this.#lifeline = lifeline;
    this.#whyNone = whyNone;
    this.interrupt = interrupt;
    this.index = index;
    this.#event = event;
    this.#followListeners();
  }

  /**
   * `event` has the vector's name; `whyNone` finds what keeps its interrupts from coming.
   *
   * @internal
   */
  static of(
    interrupt: InterruptVector['interrupt'],
    index: number,
    event: Eventfd,
    whyNone?: () => Cause | undefined,
  ): InterruptVector {
    return new InterruptVector(interrupt, index, event, { whyNone });
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
   * Resolves to the next count: how many interrupts there were since the last, 1 at least. What was
   * counted before and told to nobody is told at once. All who wait at the same time are told the
   * same, as listeners and loops are. Waiting keeps the event loop alive, as listening does.
   *
   * ```ts
   * doorbell.write(tail);
   * await vector.wait({ timeout: 1_000 });
   * ```
   *
   * @throws TypeError, RangeError for options that cannot be right
   * @throws VfioError `ERR_VFIO_TIMEOUT`: there was none within the time; with a timeout of 0, none
   *   that was counted already. `ERR_VFIO_CLOSED` where the interrupt is disabled or the device
   *   closed, also meanwhile. `ERR_VFIO_VECTOR_BUSY` while another thread listens
   * @throws the signal's reason
   */
  wait(options: VectorWaitOptions = {}): Promise<number> {
    // Without an async function around it, who awaits goes on a microtask earlier.
    return new Promise((resolve, reject) => {
      const checked = checkWait(options);
      if (this.#ended) throw this.#over();
      this.#watch(true);
      this.#waits ??= new Waits(this.#watchIfWanted);
      const late = (): Error => this.#late(checked.timeout);
      this.#unbypass();
      this.#waits.add({ resolve, reject }, checked, this.#takeLast, late);
    });
  }

  /**
   * A token by which another thread of this process gets the vector: {@link fromShared}. There it
   * listens in the loop of its own, without this thread's. The interrupt stays this thread's: the
   * shared vector is over when it is disabled, or its device closed, or when this thread ends. It
   * keeps none of that from happening.
   *
   * @throws VfioError `ERR_VFIO_CLOSED`; `EMFILE`
   */
  share(): SharedToken<'vector'> {
    if (this.#ended) throw this.#over();
    const { what } = this.#event;
    this.#lifeline ??= makeLifeline(what);
    const { name, index } = this.interrupt;
    const [fd, line] = [this.#event.offer(), this.#lifeline.offer()];
    return tokenOf('vector', { fd, line, what, interrupt: { name, index }, index: this.index });
  }

  /**
   * The counts, for `for await`: each is the number of interrupts since the one before. The loop is
   * over when the interrupt is disabled; aborting throws the signal's reason into it.
   *
   * @throws TypeError; VfioError `ERR_VFIO_VECTOR_BUSY` while another thread listens
   * @throws the reason of a signal that was aborted before
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
    else {
      this.#watch(true);
      this.#iterators.add(counts);
      this.#unbypass();
    }
    return counts;
  }

  /** What {@link counts} answers, for `for await` over the vector itself. */
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
   * The interrupt is off: tells what was counted before, ends the iterators and waits, closes the
   * eventfd, and tells other threads.
   *
   * @internal
   */
  end(cause?: Cause): void {
    if (this.#ended) return;
    const takeLast = this.#isWanted() ? this.#takeLast : undefined;
    doAll([
      () => takeLast?.(),
      () => {
        this.#end(cause);
      },
    ]);
  }

  #end(cause?: Cause): void {
    this.#ended = true;
    this.#cause = cause;
    this.#watched = false;
    const close = (): void => {
      this.#event.close(cause);
    };
    const endReaders = (): void => {
      for (const counts of this.#readers()) counts.end();
      this.#waits?.end(() => this.#over());
    };
    doAll([close, () => this.#lifeline?.close(), endReaders]);
  }

  /** What `util.inspect` shows. @internal */
  inspected(): object {
    const { interrupt, index } = this;
    const listeners = this.listenerCount('interrupt') + this.#others;
    const state = this.#ended ? 'closed' : 'open';
    return { interrupt: interrupt.name, index, listeners, state };
  }

  #followListeners(): void {
    const bare = this as EventEmitter;
    bare.off('newListener', this.#isAdded).on('newListener', this.#isAdded);
    bare.off('removeListener', this.#isRemoved).on('removeListener', this.#isRemoved);
  }

  /** The emitter tells of a new listener before it has it. */
  readonly #isAdded = (name: unknown): void => {
    if (name !== 'interrupt') return;
    this.#watch(true);
    this.#isLookedUp = false;
    this.#unbypass();
  };

  /** And of a removed one after. */
  readonly #isRemoved = (name: unknown): void => {
    if (name === 'interrupt') this.#changed();
  };

  #changed(): void {
    this.#isLookedUp = false;
    this.#unbypass();
    this.#watchIfWanted();
  }

  /** Those who iterate now: what they do may change who does. */
  #readers(): Counts[] {
    return this.#iterators === undefined ? [] : [...this.#iterators];
  }

  /** A single listener is called without the emitter, whose table is two cache misses more. */
  #lookUp(): void {
    const [first, ...more] = this.rawListeners('interrupt') as Listener[];
    this.#isUnheard = first === undefined;
    // The emitter looks after what async listeners reject with, where it was told to.
    const isPlain = more.length === 0 && !EventEmitter.captureRejections;
    this.#only = isPlain ? first : undefined;
    this.#isLookedUp = true;
  }

  /** Who is told beside the listeners. */
  get #others(): number {
    return (this.#iterators?.size ?? 0) + (this.#waits?.size ?? 0);
  }

  #isWanted(): boolean {
    return this.listenerCount('interrupt') > 0 || this.#others > 0;
  }

  readonly #watchIfWanted = (): void => {
    this.#watch(this.#isWanted());
  };

  #watch(wanted: boolean): void {
    if (this.#ended || wanted === this.#watched) return;
    if (wanted) this.#event.watch(this.#deliver, this.#ref, this.#fail);
    else this.#event.unwatch();
    this.#watched = wanted;
    this.#isBypassed = false;
  }

  /**
   * From now on the addon itself calls the listener, since there is nobody else to tell: none of
   * the objects here is touched then.
   */
  #bypass(listener: Listener): void {
    if (this.#isBypassed || !this.#watched || this.#others > 0) return;
    this.#event.method(this, listener);
    this.#isBypassed = true;
  }

  #unbypass(): void {
    if (!this.#isBypassed) return;
    this.#event.method();
    this.#isBypassed = false;
  }

  /** Tells what was counted and not told yet. */
  readonly #takeLast = (): void => {
    const last = this.#event.read();
    if (last > 0) this.#deliver(last);
  };

  /** The eventfd is polled no more: who waits or iterates hears why, and need not wait for ever. */
  readonly #fail = (error: VfioError): void => {
    const [readers, others] = [this.#readers(), this.#others];
    for (const counts of readers) counts.fail(error);
    this.#waits?.end(() => error);
    // Not before: who is left would begin it again.
    this.#watched = false;
    this.#isBypassed = false;
    // Listeners have no other way to hear of it.
    if (this.listenerCount('interrupt') === 0 && others > 0) return;
    queueMicrotask(() => {
      throw error;
    });
  };

  #late(timeout = 0): VfioError {
    const message = `there was no interrupt of ${this.#event.what} within ${timeout} ms`;
    const error = new VfioError({ code: 'ERR_VFIO_TIMEOUT', message });
    // Who looks once, and does not wait, may do so all the time.
    const cause = timeout > 0 && !this.#ended ? this.#whyNone?.() : undefined;
    return cause === undefined ? error : explained(error, cause);
  }

  #over(): VfioError {
    return closedError(this.#event.what, this.#cause);
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
    if (this.#waits !== undefined && this.#waits.size > 0) {
      this.#waits.tell(count);
      // Who has waited, and waits again at once, goes on before: then it is polled on.
      void settled.then(this.#watchIfWanted);
    }
    if (!this.#isLookedUp) this.#lookUp();
    if (this.#isUnheard) return;
    try {
      const only = this.#only;
      if (only === undefined) this.emit('interrupt', count);
      else {
        only.call(this, count);
        // It is still the one, unless it has removed itself.
        if (this.#isLookedUp) this.#bypass(only);
      }
    } catch (error) {
      // To `uncaughtException`, wherever this was called from; after what the handler left for
      // later.
      queueMicrotask(() => {
        throw error;
      });
    }
  };
}
