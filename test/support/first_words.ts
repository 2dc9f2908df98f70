import { once } from 'node:events';
import type { Readable } from 'node:stream';

/**
 * What a program says first. A program that ends before it says anything is an error at once: it
 * would be waited for in vain.
 */
export async function firstWords(stdout: Readable): Promise<string> {
  const silent = once(stdout, 'end').then(() => {
    throw new Error('the program ended before it said anything');
  });
  const [said] = (await Promise.race([once(stdout, 'data'), silent])) as [Buffer];
  return String(said);
}
