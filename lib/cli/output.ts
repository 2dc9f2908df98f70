import { fstatSync, writeFileSync } from 'node:fs';
import { otherEndGone } from '../core/other_end.ts';
import { exitStatus, type Output } from './command.ts';

/** One of the process's own streams. What becomes of what was written is told by {@link end}. */
class Sink {
  readonly #stream: NodeJS.WriteStream;
  readonly #fd: number;
  readonly #isFile: boolean;
  #error: NodeJS.ErrnoException | undefined;
  #told: (() => void) | undefined;

  constructor(stream: NodeJS.WriteStream, fd: number) {
    this.#stream = stream;
    this.#fd = fd;
    this.#isFile = !stream.isTTY && !isPipe(fd);
    // Each write is told of its own error; an event that nobody hears would end the process.
    stream.on('error', () => undefined);
  }

  write(text: string): void {
    if (this.#error !== undefined) return;
    try {
      // Where a file takes only a part, Node's stream would lose the rest without a word.
      if (this.#isFile) writeFileSync(this.#fd, text);
      else this.#stream.write(text, this.#written);
    } catch (error) {
      this.#written(error as NodeJS.ErrnoException);
    }
  }

  /** See {@link Output}. */
  whenLost(told: () => void): () => void {
    const enough = new AbortController();
    const { signal } = enough;
    this.#told = told;
    if (this.#error !== undefined) told();
    else if (!this.#isFile && isPipe(this.#fd)) {
      otherEndGone(this.#fd, signal).then(told, (error: unknown) => {
        if (!signal.aborted) this.#written(error as NodeJS.ErrnoException);
      });
    }
    return () => {
      this.#told = undefined;
      enough.abort();
    };
  }

  /**
   * Waits until all is written. Answers why something was not; a reader that went away is no error.
   */
  async end(): Promise<NodeJS.ErrnoException | undefined> {
    if (!this.#isFile && this.#error === undefined) {
      await new Promise<void>((resolve) => {
        this.#stream.write('', (error) => {
          this.#written(error);
          resolve();
        });
      });
    }
    return this.#error?.code === 'EPIPE' ? undefined : this.#error;
  }

  readonly #written = (error: Error | null | undefined): void => {
    this.#error ??= error ?? undefined;
    if (this.#error !== undefined) this.#told?.();
  };
}

/** Of all else, such as a folder, Node's stream drops what is written. */
function isPipe(fd: number): boolean {
  const stat = fstatSync(fd);
  return stat.isFIFO() || stat.isSocket();
}

/** Back to the line's begin, and nothing on it. */
const emptyLine = '\r\u001b[K';

/** To the first line, and nothing on any. */
const emptyScreen = '\u001b[H\u001b[J';

/** The lines that fit a terminal, each as far as it fits. */
function fitted(text: string, { rows, columns }: { rows: number; columns: number }): string {
  const lines = text.split('\n').map((line) => (columns > 0 ? line.slice(0, columns) : line));
  // The last line stays empty: a newline there would move all the others.
  const most = Math.max(1, rows - 1);
  if (!(rows > 0) || lines.length <= most) return lines.join('\n');
  return [...lines.slice(0, most - 1), `… ${lines.length - most + 1} lines more`].join('\n');
}

/**
 * Runs a command line whose output goes to this process's streams. A reader that goes away
 * (`| head`) ends the output, and not the command, which closes what it has open and has its own
 * exit status.
 */
export async function withProcessOutput(body: (out: Output) => Promise<number>): Promise<number> {
  const { stdout, stderr } = process;
  const [results, remarks] = [new Sink(stdout, 1), new Sink(stderr, 2)];
  const noColour = (process.env['NO_COLOR'] ?? '') !== '';
  const status = await body({
    print: (text) => {
      results.write(`${text}\n`);
    },
    note: (text) => {
      remarks.write(`${text}\n`);
    },
    colour: stdout.isTTY && !noColour,
    whenLost: (told) => results.whenLost(told),
    picture: stdout.isTTY
      ? (text) => {
          results.write(`${emptyScreen}${fitted(text, stdout)}\n`);
        }
      : undefined,
    progress: stderr.isTTY
      ? (text) => {
          remarks.write(`${emptyLine}${text}`);
        }
      : undefined,
    width: stdout.columns > 0 ? stdout.columns : undefined,
  });
  const lost = await results.end();
  // What it changed stands, and is not to be done again for want of words.
  const done = status === exitStatus.ok ? '; the command itself did not fail' : '';
  if (lost !== undefined)
    remarks.write(`vfio: the output was not written: ${lost.message}${done}\n`);
  const silenced = await remarks.end();
  const isLost = lost !== undefined || silenced !== undefined;
  return status === exitStatus.ok && isLost ? exitStatus.failed : status;
}
