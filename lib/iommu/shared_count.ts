import { binding, type NativeSharedCount } from '../core/binding.ts';
import { check } from '../core/call.ts';
import { taken } from '../core/shared_token.ts';

/**
 * How many owners there are, in all threads of this process, of what the kernel counts none of. One
 * that is dropped goes on counting until its thread ends: what it counted for stays as it is.
 */
export class SharedCount {
  #handle: NativeSharedCount | undefined;

  private constructor(handle: NativeSharedCount) {
    this.#handle = handle;
  }

  /** A new one, with one owner. */
  static make(): SharedCount {
    return new SharedCount(binding().sharedCountNew() as NativeSharedCount);
  }

  /** One more owner of what was offered. @throws VfioError `ERR_VFIO_CLOSED` */
  static take(offer: number, what: string): SharedCount {
    return new SharedCount(taken(binding().sharedCountTake(offer), what) as NativeSharedCount);
  }

  /** A number by which another thread takes it. */
  offer(): number {
    const answer = this.#handle && binding().sharedCountOffer(this.#handle);
    return check(answer, { syscall: 'sharedCountOffer' });
  }

  /** Gives up one owner's part; whether it was the last. */
  drop(): boolean {
    const handle = this.#handle;
    this.#handle = undefined;
    return handle === undefined || binding().sharedCountDrop(handle) === 1;
  }
}
