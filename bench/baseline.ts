import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Round } from '../lib/cli/bench/paths.ts';
import { root } from '../test/support/root.ts';

/** A program of bench/baseline that makes rounds when it is told how many. */
export class BaselineRounds<Result = Round> {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  private constructor(file: string, args: string[], fd?: number) {
    const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit', fd ?? 'ignore'] });
    this.#child = child;
    const { stdout } = child;
    if (stdout === null) throw new Error('spawn made no pipe');
    this.#lines = createInterface({ input: stdout })[Symbol.asyncIterator]();
  }

  /** One in C, compiled by `npm run build:baseline`; `fd` is its descriptor 3. */
  static inC<Result = Round>(program: string, args: string[], fd?: number): BaselineRounds<Result> {
    return new BaselineRounds(new URL(`build-baseline/${program}`, root).pathname, args, fd);
  }

  /** One in Python. */
  static inPython<Result = Round>(program: string, args: string[]): BaselineRounds<Result> {
    const file = new URL(`bench/baseline/${program}.py`, root).pathname;
    return new BaselineRounds('python3', [file, ...args]);
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

  /** Waits until it has ended, and others can have its device. */
  async end(): Promise<void> {
    const exit = once(this.#child, 'exit');
    this.#child.stdin?.end();
    await exit;
  }
}

/** A program of bench/baseline that answers each line it is given by one. */
export class BaselineTurns {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(program: string, args: string[]) {
    const file = new URL(`build-baseline/${program}`, root).pathname;
    const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  async turn<Result>(line: string): Promise<Result> {
    this.#child.stdin?.write(`${line}\n`);
    const answer = await this.#lines.next();
    if (answer.done) throw new Error('the baseline program ended');
    return JSON.parse(answer.value) as Result;
  }

  /** Waits until it has ended, and others can have its device. */
  async end(): Promise<void> {
    const exit = once(this.#child, 'exit');
    this.#child.stdin?.end();
    await exit;
  }
}
