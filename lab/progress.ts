import { styleText } from 'node:util';

/**
 * Says on stderr what takes long, and how long it took. Only preparing uses this: a start from a
 * filled cache says nothing, because stderr then belongs to the command.
 */
export async function step<T>(title: string, work: () => Promise<T>): Promise<T> {
  const began = performance.now();
  const seconds = (): string => `${((performance.now() - began) / 1000).toFixed(1)} s`;
  const terminal = process.stderr.isTTY;
  say(title + (terminal ? '' : ' …'), terminal ? '\r' : '\n');
  // A person watching sees every half second that it lives, a log file once a minute.
  const ticker = setInterval(
    () => {
      say(`${title} … ${seconds()}`, terminal ? '\r' : '\n');
    },
    terminal ? 500 : 60_000,
  );
  try {
    const result = await work();
    say(`${title}: ${styleText('green', seconds(), { stream: process.stderr })}`, '\n');
    return result;
  } finally {
    clearInterval(ticker);
  }
}

/** One line for a person, on stderr. */
export function note(text: string): void {
  say(text, '\n');
}

function say(text: string, end: '\r' | '\n'): void {
  const clear = process.stderr.isTTY ? '\x1b[K' : '';
  process.stderr.write(`lab: ${text}${clear}${end}`);
}
