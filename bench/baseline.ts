import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Round } from '../lib/cli/bench/paths.ts';
import { root } from '../test/support/root.ts';

/** A program that answers what it is told in lines of JSON. */
class BaselineProgram {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  protected constructor(file: string, args: string[], fd?: number) {
    const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit', fd ?? 'ignore'] });
    this.#child = child;
    const { stdout } = child;
    if (stdout === null) throw new Error('spawn made no pipe');
    this.#lines = createInterface({ input: stdout })[Symbol.asyncIterator]();
  }

  protected tell(line: string | number): void {
    this.#child.stdin?.write(`${line}\n`);
  }

  protected async answer<Result>(): Promise<Result> {
    const line = await this.#lines.next();
    if (line.done) throw new Error('the baseline program ended');
    return JSON.parse(line.value) as Result;
  }

  /** Waits until it has ended, and others can have its device. */
  async end(): Promise<void> {
    const exit = once(this.#child, 'exit');
    this.#child.stdin?.end();
    await exit;
  }
}

const inC = (program: string): string => new URL(`build-baseline/${program}`, root).pathname;

/** A program of bench/baseline that makes rounds when it is told how many. */
export class BaselineRounds<Result = Round> extends BaselineProgram {
  /** One in C, compiled by `npm run build:baseline`; `fd` is its descriptor 3. */
  static inC<Result = Round>(program: string, args: string[], fd?: number): BaselineRounds<Result> {
    return new BaselineRounds(inC(program), args, fd);
  }

  /** One in Python. */
  static inPython<Result = Round>(program: string, args: string[]): BaselineRounds<Result> {
    const file = new URL(`bench/baseline/${program}.py`, root).pathname;
    return new BaselineRounds('python3', [file, ...args]);
  }

  /** One that Node runs, in an environment of its own; what it says on standard error is lost. */
  static inNode<Result>(
    program: string,
    args: string[],
    environment: string[],
  ): BaselineRounds<Result> {
    const silent = ['-c', 'exec env "$@" 2>/dev/null', 'sh', ...environment];
    return new BaselineRounds('sh', [...silent, process.execPath, program, ...args]);
  }

  async rounds(count: number): Promise<Result[]> {
    this.tell(count);
    const rounds: Result[] = [];
    while (rounds.length < count) rounds.push(await this.answer<Result>());
    return rounds;
  }
}

/** A program of bench/baseline that answers each line it is given by one. */
export class BaselineTurns extends BaselineProgram {
  constructor(program: string, args: string[]) {
    super(inC(program), args);
  }

  turn<Result>(line: string): Promise<Result> {
    this.tell(line);
    return this.answer<Result>();
  }
}
