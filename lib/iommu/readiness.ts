import { binding } from '../binding.ts';
import { check } from '../call.ts';
import { VfioError } from '../errors.ts';
import type { OwnedFd } from '../owned_fd.ts';

interface Waiter {
  resolve: () => void;
  reject: (reason: unknown) => void;
}

/** Waits until there is something to read from a descriptor; the event loop polls it meanwhile. */
export class Readiness {
  readonly #fd: OwnedFd;
  readonly #waiters = new Set<Waiter>();
  #watched = false;

  constructor(fd: OwnedFd) {
    this.#fd = fd;
  }

  /** Rejects with the signal's reason, or with `ERR_VFIO_CLOSED` where `end` is called meanwhile. */
  async wait(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    const { native } = this.#fd;
    let waiter: Waiter | undefined;
    const abort = (): void => waiter?.reject(signal?.reason);
    signal?.addEventListener('abort', abort);
    try {
      await new Promise<void>((resolve, reject) => {
        waiter = { resolve, reject };
        this.#waiters.add(waiter);
        if (!this.#watched) check(binding().fdWatch(native, this.#ready), { syscall: 'epoll_ctl' });
        this.#watched = true;
      });
    } finally {
      signal?.removeEventListener('abort', abort);
      if (waiter) this.#waiters.delete(waiter);
      this.#unwatchIfIdle();
    }
  }

  /** The descriptor is about to be closed, which ends the polling. */
  end(): void {
    this.#watched = false;
    const error = new VfioError({ code: 'ERR_VFIO_CLOSED', message: 'it was closed meanwhile' });
    for (const { reject } of this.#waiters) reject(error);
  }

  readonly #ready = (answer: number): void => {
    // The addon has ended the polling after an error.
    if (answer < 0) this.#watched = false;
    for (const { resolve, reject } of this.#waiters) {
      try {
        check(answer, { syscall: 'poll', path: this.#fd.path });
        resolve();
      } catch (error) {
        reject(error);
      }
    }
    this.#waiters.clear();
    this.#unwatchIfIdle();
  };

  #unwatchIfIdle(): void {
    if (!this.#watched || this.#waiters.size > 0) return;
    this.#watched = false;
    check(binding().eventfdUnwatch(this.#fd.native), { syscall: 'epoll_ctl' });
  }
}
