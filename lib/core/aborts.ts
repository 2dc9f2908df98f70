import { doAll } from './steps.ts';

type Callback = () => void;

/** Who hears of a signal's abort, by one listener of ours. */
interface Hearing {
  callbacks: Set<Callback>;
  tell: () => void;
}

const hearings = new WeakMap<AbortSignal, Hearing>();

/**
 * Calls back when a signal is aborted. However many want to hear, the signal has one listener of
 * ours: Node warns of more than ten as of a leak, and removing one of many looks through all.
 *
 * @param callback - is called once at most; one of its own for each who wants to hear
 * @returns has it not be called any more; harmless afterwards
 */
export function onAbort(signal: AbortSignal, callback: Callback): () => void {
  const hearing = hearings.get(signal) ?? listen(signal);
  hearing.callbacks.add(callback);
  return () => {
    const { callbacks } = hearing;
    if (callbacks.delete(callback) && callbacks.size === 0) forget(signal, hearing);
  };
}

function listen(signal: AbortSignal): Hearing {
  const callbacks = new Set<Callback>();
  const tell = (): void => {
    const all = [...callbacks];
    forget(signal, hearing);
    // One of them may have another not be called any more.
    const tellOne = (each: Callback): void => {
      if (callbacks.delete(each)) each();
    };
    doAll(all.map((each) => tellOne.bind(undefined, each)));
  };
  const hearing = { callbacks, tell };
  hearings.set(signal, hearing);
  signal.addEventListener('abort', tell);
  return hearing;
}

function forget(signal: AbortSignal, hearing: Hearing): void {
  signal.removeEventListener('abort', hearing.tell);
  if (hearings.get(signal) === hearing) hearings.delete(signal);
}
