import { OwnedFd } from './owned_fd.ts';
import { disconnected, Readiness } from './readiness.ts';

/**
 * Waits until the other end of a pipe or socket is gone: who writes nothing hears of it in no other
 * way. Keeps the event loop alive until then; rejects with the signal's reason.
 *
 * @param number - a descriptor of the caller's, who may close it
 */
export async function otherEndGone(number: number, signal: AbortSignal): Promise<void> {
  const fd = OwnedFd.duplicate(number, 'the output', `descriptor ${number}`);
  try {
    await new Readiness(fd).wait(disconnected, signal);
  } finally {
    await fd.close();
  }
}
