import { invalidType, invalidValue, outOfRange } from '../core/arguments.ts';
import type { IrqInfo } from '../info/decode.ts';

/** What to enable: so many vectors from 0 on, or the caller's own eventfds. */
export interface EnableOptions {
  /**
   * Numbers of the caller's own eventfds, one for each vector from 0 on, as KVM's irqfds are; null
   * leaves a vector without. They may be closed afterwards: the package keeps duplicates.
   */
  eventfds: readonly (number | null)[];
}

/** @throws TypeError, RangeError for a number of vectors that the device does not have */
export function checkVectors(vectors: unknown, { name, count }: IrqInfo): number {
  const expected = `an integer from 1 to ${count}, the vectors of ${name}`;
  if (typeof vectors !== 'number') throw invalidType('vectors', expected, vectors);
  if (Number.isInteger(vectors) && vectors >= 1 && vectors <= count) return vectors;
  throw outOfRange('vectors', expected, vectors);
}

/** @throws TypeError, RangeError */
export function checkVector(vector: unknown, { name, count }: IrqInfo): number {
  const expected = `an integer from 0 to ${count - 1}, a vector of ${name}`;
  if (typeof vector !== 'number') throw invalidType('vector', expected, vector);
  if (Number.isInteger(vector) && vector >= 0 && vector < count) return vector;
  throw outOfRange('vector', expected, vector);
}

/** @throws TypeError, RangeError */
export function checkEventfds(eventfds: unknown, irq: IrqInfo): readonly (number | null)[] {
  const expected = 'an array of descriptor numbers and nulls';
  if (!Array.isArray(eventfds)) throw invalidType('eventfds', expected, eventfds);
  checkVectors(eventfds.length, irq);
  for (const eventfd of eventfds) if (eventfd !== null) checkEventfd(eventfd);
  return eventfds as (number | null)[];
}

/** @throws TypeError, RangeError */
export function checkEventfd(eventfd: unknown): number {
  const expected = 'the number of an open eventfd';
  if (typeof eventfd !== 'number') throw invalidType('eventfd', expected, eventfd);
  if (Number.isInteger(eventfd) && eventfd >= 0 && eventfd < 2 ** 31) return eventfd;
  throw outOfRange('eventfd', expected, eventfd);
}

/** @throws TypeError, RangeError */
export function checkWhich(which: unknown, irq: IrqInfo): number | readonly boolean[] {
  if (!Array.isArray(which)) return checkVector(which, irq);
  checkVectors(which.length, irq);
  const bad: unknown = which.find((one) => typeof one !== 'boolean');
  if (bad !== undefined) throw invalidValue('which', 'a vector or an array of booleans', which);
  return which as boolean[];
}
