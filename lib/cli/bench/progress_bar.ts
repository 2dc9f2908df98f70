import type { Output } from '../command.ts';

const width = 30;

/** Draws how much is done on the terminal, if there is one, and removes it at the end. */
export function progressBar(
  { progress }: Output,
  what: string,
): ((done: number, total: number) => void) | undefined {
  if (progress === undefined) return undefined;
  return (done, total) => {
    const full = Math.floor((width * done) / total);
    const bar = '#'.repeat(full).padEnd(width, '.');
    progress(done === total ? '' : `${what} [${bar}] ${done} of ${total} rounds`);
  };
}
