import type { Binding } from '../core/binding.ts';
import { errnoWords, type TraceWords } from './words.ts';

/** What has the loop deliver the counts of an eventfd. */
type Delivery = Pick<Binding, 'eventfdWatch' | 'eventfdMethod'>;

/**
 * The same functions, of which each count is told before who listens hears of it: what they are to
 * call is wrapped when it begins to listen.
 */
export function tracedInterrupts(
  native: Delivery,
  words: TraceWords,
  write: (line: string) => void,
): Delivery {
  const tell = (event: Parameters<Delivery['eventfdWatch']>[0], answer: number): void => {
    const name = words.eventfdName(event);
    const kind = name.startsWith('vector ') ? 'interrupt' : 'event';
    const outcome = answer < 0 ? errnoWords(answer) : String(answer);
    write(`${kind}(${name}, ${words.fd(event)}) = ${outcome}`);
  };
  return {
    eventfdWatch: (event, callback, name) => {
      if (name !== undefined) words.noteEventfd(event, name);
      const told = (answer: number): void => {
        tell(event, answer);
        callback(answer);
      };
      return native.eventfdWatch(event, told, name);
    },
    eventfdMethod: (event, receiver, method) => {
      const told = (count: number): void => {
        tell(event, count);
        if (method) Reflect.apply(method, receiver, [count]);
      };
      return native.eventfdMethod(event, receiver, method && told);
    },
  };
}
