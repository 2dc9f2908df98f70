import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { root } from '../test/support/root.ts';
import type { Round } from './steps.ts';

/** A C program of bench/baseline that makes rounds when it is told how many. */
export class BaselineRounds<Result = Round> {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(program: string, args: string[]) {
    const file = new URL(`build-baseline/${program}`, root).pathname;
    const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  async rounds(count: number): Promise<Result[]> {
    this.#child.stdin?.write(`${count}\n`);
    const rounds: Result[] = [];
    while (rounds.length < count) {
      const line = await this.#lines.next();
      if (line.done) throw new Error('the baseline program ended');
      rounds.push(JSON.parse(line.value) as Result);
    }
    return rounds;
  }

  end(): void {
    this.#child.stdin?.end();
  }
}
