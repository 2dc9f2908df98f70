import { type Binding, binding } from '../../lib/core/binding.ts';
import { withBinding } from './fake_binding.ts';

/**
 * A function of the addon that tells each time that the event loop begins to poll a descriptor:
 * only then does who asked for a node, a message or a peer wait for it.
 */
export function tellingOfWaits(tell: () => void): Pick<Binding, 'fdPoll'> {
  const { fdPoll } = binding();
  return {
    fdPoll: (fd, events, told) => {
      const answer = fdPoll(fd, events, told);
      if (events !== 0) tell();
      return answer;
    },
  };
}

/** Begins what has to wait, and does `then` once it waits. */
export async function whileWaiting<T>(begin: () => Promise<T>, then: () => unknown): Promise<T> {
  let tell = (): void => undefined;
  const waits = new Promise<void>((resolve) => (tell = resolve));
  return withBinding(
    tellingOfWaits(() => {
      tell();
    }),
    async () => {
      const begun = begin();
      const over = begun.then(() => {
        throw new Error('it ended without waiting');
      });
      await Promise.race([waits, over]);
      await then();
      return begun;
    },
  );
}
