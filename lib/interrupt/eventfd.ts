import { type Answer, binding, type NativeFd } from '../core/binding.ts';
import { type CallName, check } from '../core/call.ts';
import { EAGAIN, EBADF, EBUSY, EINVAL } from '../core/errno.ts';
import { closedError, explained, systemError, VfioError } from '../core/errors.ts';
import type { Cause } from '../core/reasons.ts';
import { taken } from '../core/shared_token.ts';
import { closeSyncAndThrow, doAll } from '../core/steps.ts';
import { warnIfFailedSync } from '../core/warnings.ts';
import { readLinkText } from '../locate/sysfs.ts';

/**
 * An eventfd and its one owner. One that is dropped is closed without a word: it belongs to a
 * device, whose own descriptor warns.
 */
export class Eventfd {
  #fd: NativeFd | undefined;
  #closing: Cause | undefined;
  /** Its name in errors. */
  readonly what: string;
  /** The number that the caller gave, who may be wrong in what it is. */
  readonly #given: number | undefined;

  private constructor(fd: NativeFd, what: string, given?: number) {
    this.#fd = fd;
    this.what = what;
    this.#given = given;
    dropped.register(this, fd, this);
  }

  /** A new one. `what` names it in errors: 'vector 0 of msi of 0000:3b:00.0'. */
  static open(what: string): Eventfd {
    return new Eventfd(check(binding().eventfdOpen(), { syscall: 'eventfd' }) as NativeFd, what);
  }

  /** The same one that a number of the caller's stands for, kept open whatever becomes of that. */
  static duplicate(number: number, what: string): Eventfd {
    const answer = binding().dup(number);
    if (answer === EBADF)
      throw systemError({ errno: EBADF, syscall: 'fcntl' }, `${what} is not open`);
    return new Eventfd(check(answer, { syscall: 'fcntl' }) as NativeFd, what, number);
  }

  /** The same one that another thread offered. Throws `ERR_VFIO_CLOSED` where that closed it. */
  static take(offer: number, what: string): Eventfd {
    return new Eventfd(taken(binding().fdTake(offer), what) as NativeFd, what);
  }

  /** Offers it to the other threads; answers the offer's number. Throws `ERR_VFIO_CLOSED`. */
  offer(): number {
    return check(binding().fdOffer(this.native), { syscall: 'fdOffer' });
  }

  /** Whether the caller gave something else, as far as this can be seen. */
  get whyNone(): Cause | undefined {
    const fd = this.#given;
    if (fd === undefined) return undefined;
    const found = readLinkText(`/proc/self/fd/${this.number}`);
    if (found === undefined || found === 'anon_inode:[eventfd]') return undefined;
    return { reason: 'not-an-eventfd', certainty: 'certain', facts: { fd, found } };
  }

  /** For the addon's functions. Throws `ERR_VFIO_CLOSED`. */
  get native(): NativeFd {
    if (this.#fd !== undefined) return this.#fd;
    throw closedError(this.what, this.#closing);
  }

  /** The descriptor's number. Throws `ERR_VFIO_CLOSED`. */
  get number(): number {
    return check(binding().fdNumber(this.native), { syscall: 'fdNumber' });
  }

  /** What was counted since the last read. */
  read(): number {
    const answer = binding().eventfdRead(this.native);
    return answer === EAGAIN ? 0 : check(answer, { syscall: 'read' });
  }

  /**
   * Calls back with every count, until `unwatch` or `close`; `failed` where it cannot be read or
   * polled any more, which ends the watching. Throws `ERR_VFIO_VECTOR_BUSY` where another thread
   * does.
   */
  watch(
    callback: (count: number) => void,
    ref: boolean,
    failed: (error: VfioError) => void = thrown,
  ): void {
    // No more than this: how soon a handler runs depends on all that stands before it.
    const called = (answer: number): void => {
      if (answer >= 0) callback(answer);
      else failed(systemError({ errno: answer, syscall: 'read' }));
    };
    const answer = binding().eventfdWatch(this.native, called, this.what);
    if (answer === EBUSY) throw this.#busy();
    check(answer, { syscall: 'epoll_ctl' });
    this.ref(ref);
  }

  /**
   * While it is watched: has the addon itself call a method of the receiver with every count, in
   * the callback's place; without arguments the callback again.
   */
  method(receiver?: object, method?: (count: number) => void): void {
    check(binding().eventfdMethod(this.native, receiver, method), { syscall: 'epoll_ctl' });
  }

  unwatch(): void {
    check(binding().eventfdUnwatch(this.native), { syscall: 'epoll_ctl' });
  }

  /** Whether watching keeps the loop alive. */
  ref(ref: boolean): void {
    check(binding().eventfdRef(this.native, ref), { syscall: 'epoll_ctl' });
  }

  #busy(): VfioError {
    const message = `${this.what} is listened to already, by another thread or another object: only one at a time may listen`;
    return new VfioError({ code: 'ERR_VFIO_VECTOR_BUSY', message });
  }

  /** Never blocks. Closing twice is harmless. `cause` where the program did not want it. */
  close(cause?: Cause): void {
    const fd = this.#fd;
    if (fd === undefined) return;
    this.#closing = cause;
    this.#fd = undefined;
    dropped.unregister(this);
    check(binding().closeSync(fd), { syscall: 'close' });
  }
}

/** Where nobody else can hear of it: to `uncaughtException`. */
function thrown(error: VfioError): never {
  throw error;
}

const dropped = new FinalizationRegistry<NativeFd>((fd) => {
  warnIfFailedSync(binding().closeSync(fd), { syscall: 'close' });
});

/** What a vector signals: nothing where it gets no eventfd. */
export type VectorEventfd = Eventfd | undefined;

/** One for each vector of `interrupt`, 'msi of 0000:3b:00.0', from 0 on: new ones, or duplicates. */
export function openEventfds(
  interrupt: string,
  wanted: number | readonly (number | null)[],
): VectorEventfd[] {
  if (typeof wanted === 'number') return makeEventfds(interrupt, 0, wanted);
  return allOrNone(wanted.length, (at) => {
    const number = wanted[at] ?? null;
    return number === null ? undefined : duplicateEventfd(number);
  });
}

/** New ones for the vectors from `start` on. */
export function makeEventfds(interrupt: string, start: number, count: number): Eventfd[] {
  return allOrNone(count, (at) => Eventfd.open(`vector ${start + at} of ${interrupt}`));
}

export function duplicateEventfd(number: number): Eventfd {
  return Eventfd.duplicate(number, `the eventfd ${number}`);
}

/** Closes all, whatever comes of one; then throws what failed. */
export function closeEventfds(eventfds: readonly VectorEventfd[]): void {
  const closings = eventfds.map((eventfd) => () => {
    eventfd?.close();
  });
  doAll(closings);
}

function allOrNone<T extends VectorEventfd>(count: number, make: (at: number) => T): T[] {
  const made: T[] = [];
  try {
    while (made.length < count) made.push(make(made.length));
  } catch (error) {
    return closeSyncAndThrow(error, () => {
      closeEventfds(made);
    });
  }
  return made;
}

/** The error of a call that took these, which tells where one of them is no eventfd. */
export function explainEventfds(error: VfioError, eventfds: readonly VectorEventfd[]): VfioError {
  if (error.errno !== EINVAL) return error;
  for (const eventfd of eventfds) {
    const cause = eventfd?.whyNone;
    if (cause !== undefined) return explained(error, cause);
  }
  return error;
}

/** Throws what the kernel answered to a call with these. */
export function checkWithEventfds(
  answer: Answer,
  call: CallName,
  eventfds: readonly VectorEventfd[],
): void {
  if (answer === EINVAL) throw explainEventfds(systemError({ ...call, errno: answer }), eventfds);
  check(answer, call);
}
