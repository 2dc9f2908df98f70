import { binding, type NativeFd } from '../core/binding.ts';
import { check } from '../core/call.ts';
import { OwnedFd } from '../core/owned_fd.ts';
import { readable } from '../core/readiness.ts';
import { taken } from '../core/shared_token.ts';
import { closing, closingAll, runSync, undoAndThrow } from '../core/steps.ts';

/**
 * Tells other threads of this process that something is over, in whatever way: also where its
 * thread was terminated, since then too the kernel closes one end of a pair of sockets. Nothing is
 * sent through it.
 */
export interface Lifeline {
  /** Offers the end that tells; answers the offer's number. Throws `ERR_VFIO_CLOSED`. */
  offer: () => number;
  /** On the side that made it, this is what the others are told. */
  close: () => void;
}

/** Of what is over when this is closed, or its thread ends. `what` names it in errors. */
export function makeLifeline(what: string): Lifeline {
  const handles = new Uint32Array(2);
  check(binding().socketPair(handles), { syscall: 'socketpair' });
  const [own, others] = [...handles].map((handle) => adopt(handle, what));
  if (own === undefined || others === undefined) throw new TypeError('a pair has two');
  const close = (): void => {
    runSync(closingAll([own, others]));
  };
  return { offer: () => others.offer(), close };
}

/** What another thread offered; `over` is called when that is over, and keeps nothing alive. */
export function takeLifeline(offer: number, what: string, over: () => void): Lifeline {
  const end = adopt(taken(binding().fdTake(offer), what), what);
  try {
    check(binding().fdPoll(end.native, readable, over), { syscall: 'epoll_ctl' });
    check(binding().eventfdRef(end.native, false), { syscall: 'epoll_ctl' });
  } catch (error) {
    runSync(undoAndThrow(error, closing(end)));
  }
  const close = (): void => {
    end.closeSync();
  };
  return { offer: () => end.offer(), close };
}

function adopt(handle: number, what: string): OwnedFd {
  return OwnedFd.adopt(handle as NativeFd, what, 'socket').asPart();
}
