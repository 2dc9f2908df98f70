import { fs } from '../core/builtins.ts';

const stderr = 2;

/** So many milliseconds a reader is waited for that takes nothing. */
const mostWait = 1_000;

/** No room in a pipe, on a disk: what comes later may have some. Any other error stays. */
const passing: readonly unknown[] = ['EAGAIN', 'ENOSPC', 'EDQUOT'];

/**
 * Writes lines to standard error for a program that shall not fail of them. A reader that is gone
 * ends the writing. Lines that had no room are lost, and the next one says how many these are.
 */
export class StderrLines {
  readonly #name: string;
  readonly #write: typeof fs.writeSync;
  #ended = false;
  #lost = 0;
  /** The last line was written in part. */
  #isCut = false;
  /** The reader let us wait in vain: no more waiting, until it takes a line at once. */
  #isStuck = false;

  /** @param name - what the line begins with that says how many were lost */
  constructor(name: string, write: typeof fs.writeSync = fs.writeSync) {
    this.#name = name;
    this.#write = write;
  }

  write(line: string): void {
    if (this.#ended) return;
    const cut = this.#isCut ? '\n' : '';
    const lost =
      this.#lost === 0 ? '' : `${this.#name}: … lines of the trace lost: ${this.#lost}\n`;
    const isWritten = this.#put(Buffer.from(`${cut}${lost}${line}\n`));
    this.#lost = isWritten ? 0 : this.#lost + 1;
  }

  /** Whether all of it was written. */
  #put(bytes: Buffer): boolean {
    const deadline = performance.now() + (this.#isStuck ? 0 : mostWait);
    let at = 0;
    while (at < bytes.length) {
      try {
        at += this.#write(stderr, bytes, at);
      } catch (error) {
        const code = error instanceof Error && 'code' in error ? error.code : undefined;
        // A pipe that is not to block, as Node makes its own: the reader is only late.
        if (code === 'EAGAIN' && performance.now() < deadline) {
          sleep(1);
          continue;
        }
        this.#isStuck = code === 'EAGAIN';
        this.#ended = !passing.includes(code);
        this.#isCut ||= at > 0;
        return false;
      }
    }
    this.#isStuck = this.#isCut = false;
    return true;
  }
}

function sleep(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}
