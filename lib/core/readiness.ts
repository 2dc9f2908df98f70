import { onAbort } from './aborts.ts';
import { binding } from './binding.ts';
import { check } from './call.ts';
import { VfioError } from './errors.ts';
import type { OwnedFd } from './owned_fd.ts';

/** Values of uv_poll_event. */
export const readable = 1;
export const writable = 2;
/** The other end is gone. */
export const disconnected = 4;
const any = readable | writable | disconnected;

interface Waiter {
  event: number;
  /** It is worth another try. */
  ready: () => void;
  fail: (reason: unknown) => void;
}

/**
 * Has the event loop tell when a descriptor is worth another try. It polls, and keeps the program
 * alive, only while somebody waits.
 */
export class Readiness {
  readonly #fd: OwnedFd;
  readonly #waiters = new Set<Waiter>();
  /** What the loop polls for now. */
  #polled = 0;

  constructor(fd: OwnedFd) {
    this.#fd = fd;
  }

  /**
   * Resolves when it is worth another try; rejects with the signal's reason, or when it is closed.
   */
  async wait(event: number, signal: AbortSignal | undefined): Promise<void> {
    throwIfAborted(signal);
    let waiter: Waiter | undefined;
    const told = new Promise<void>((ready, fail) => {
      waiter = { event, ready, fail };
      this.#waiters.add(waiter);
      this.#poll();
    });
    try {
      await untilAborted(told, signal);
    } finally {
      // Aborted, where it is still there.
      if (waiter && this.#waiters.delete(waiter)) this.#poll();
    }
  }

  /** The descriptor is about to be closed, which ends its polling. */
  end(what: string): void {
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    // Closing the descriptor ends its polling.
    this.#polled = 0;
    for (const { fail } of waiters) {
      fail(new VfioError({ code: 'ERR_VFIO_CLOSED', message: `${what} is closed` }));
    }
  }

  readonly #told = (answer: number): void => {
    // An error of the file's own: it is polled no more, and trying again will say which.
    if (answer < 0) this.#polled = 0;
    const now = answer < 0 ? any : answer;
    for (const waiter of [...this.#waiters]) {
      if ((waiter.event & now) === 0) continue;
      this.#waiters.delete(waiter);
      waiter.ready();
    }
    this.#poll();
  };

  #poll(): void {
    const wanted = [...this.#waiters].reduce((events, { event }) => events | event, 0);
    if (wanted === this.#polled) return;
    this.#polled = wanted;
    const answer = binding().fdPoll(this.#fd.native, wanted, this.#told);
    check(answer, { syscall: 'epoll_ctl' });
  }
}

/** What a signal was aborted with. Older implementations, such as jsdom's, have no reason. */
export function abortReason(signal: AbortSignal): unknown {
  const { reason } = signal as { reason?: unknown };
  return reason === undefined
    ? new DOMException('This operation was aborted', 'AbortError')
    : reason;
}

/** @throws the signal's reason. Not every implementation has a method for it. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw abortReason(signal);
}

/**
 * What comes of a promise, or the signal's reason as soon as it is aborted; whose promise it is
 * looks at the signal, too.
 */
export async function untilAborted<T>(
  promise: Promise<T>,
  signal: AbortSignal | undefined,
): Promise<T> {
  if (signal === undefined) return await promise;
  let unhear: (() => void) | undefined;
  const aborted = new Promise<never>((_, fail) => {
    unhear = onAbort(signal, () => {
      // The caller's own reason, whatever it is.
      // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors
      fail(abortReason(signal));
    });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    unhear?.();
  }
}
