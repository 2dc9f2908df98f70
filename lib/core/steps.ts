import { type Answer, type Binding, binding } from './binding.ts';
import type { Closable } from './closable.ts';
import { messageOf } from './errors.ts';

/** Begins what a task waits for. */
type Step = () => Promise<unknown> | undefined;

/**
 * A task of calls that can block, written once: it yields each and is given what came of it, and
 * who runs it decides whether this thread waits. Where it does, the calls are made where they
 * stand and nothing is yielded: each would be handed up through all the tasks around it, and its
 * answer down again.
 */
export type Steps<T> = Generator<Step, T, unknown>;

/** Whether the task that goes on at this moment is to block. */
let blocking = false;

/** Has what goes on in `body`, and nothing that is awaited there, block or not. */
function goOn<T>(blocks: boolean, body: () => T): T {
  const before = blocking;
  blocking = blocks;
  try {
    return body();
  } finally {
    blocking = before;
  }
}

/** Names of the addon's functions that have a promise and a form that blocks. */
type SlowName = {
  [Name in keyof Binding]: `${Name}Sync` extends keyof Binding ? Name : never;
}[keyof Binding];

type ArgumentsOf<Name extends SlowName> = Parameters<Binding[Name]>;

type AnswerOf<Name extends SlowName> =
  NonNullable<ReturnType<Binding[Name]>> extends Promise<infer Value> ? Value | Answer : never;

/** Calls a function of the addon. */
export function* call<Name extends SlowName>(
  name: Name,
  ...args: ArgumentsOf<Name>
): Steps<AnswerOf<Name>> {
  type Plain = Record<string, (...given: ArgumentsOf<Name>) => unknown>;
  const native = binding() as Plain;
  if (blocking) return native[`${name}Sync`]?.(...args) as AnswerOf<Name>;
  return (yield () => native[name]?.(...args) as Promise<unknown> | undefined) as AnswerOf<Name>;
}

/** Does what has a promise and a form that blocks. */
export function* either<T>(start: () => Promise<T> | undefined, block: () => T): Steps<T> {
  return blocking ? block() : ((yield start) as T);
}

/** Does what never blocks. */
export function doing(body: () => void): Steps<void> {
  const start = (): undefined => {
    body();
  };
  return either(start, body);
}

/** Waits so many milliseconds. */
export function pause(milliseconds: number): Steps<void> {
  return either(
    () => process.getBuiltinModule('node:timers/promises').setTimeout(milliseconds),
    () => {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
    },
  );
}

/**
 * Lets who called the promise form go on before the task does; the blocking form goes on at once.
 */
export function* letCallerGoOn(): Steps<void> {
  if (!blocking) yield () => undefined;
}

/** Runs a task; each call is made on a thread of the addon's own. */
export async function run<T>(steps: Steps<T>): Promise<T> {
  let step = goOn(false, () => steps.next());
  while (!step.done) {
    const { value: start } = step;
    let result: unknown;
    try {
      result = await goOn(false, start);
    } catch (error) {
      step = goOn(false, () => steps.throw(error));
      continue;
    }
    step = goOn(false, () => steps.next(result));
  }
  return step.value;
}

/** Runs a task, blocking. */
export function runSync<T>(steps: Steps<T>): T {
  const { done, value } = goOn(true, () => steps.next());
  if (!done) throw new Error('vfio: a task that blocks yielded; please report this bug');
  return value;
}

/** What has both forms of closing. */
export type HasClose = Pick<Closable, 'close' | 'closeSync'>;

/** Closes what is there. */
export function* closing(open: HasClose | undefined): Steps<void> {
  if (open === undefined) return;
  yield* either(
    () => open.close(),
    () => {
      open.closeSync();
    },
  );
}

/** Does one after the other, whatever comes of those before; then throws what failed. */
export function* inOrder(...tasks: readonly Steps<void>[]): Steps<void> {
  const errors: unknown[] = [];
  for (const task of tasks) {
    try {
      yield* task;
    } catch (error) {
      errors.push(error);
    }
  }
  throwAll(errors);
}

/** Does something with all at once, whatever comes of one; then throws what failed. */
export function withAll<T>(
  all: readonly T[],
  start: (one: T) => Promise<void>,
  block: (one: T) => void,
): Steps<void> {
  return either(
    () => allDone(all.map(start)),
    () => {
      const tasks = all.map((one) => () => {
        block(one);
      });
      doAll(tasks);
    },
  );
}

/** Closes all at once, whatever comes of one; then throws what failed. */
export function closingAll(open: readonly HasClose[]): Steps<void> {
  return withAll(
    open,
    (one) => one.close(),
    (one) => {
      one.closeSync();
    },
  );
}

/** Waits for all, whatever comes of one; then throws what failed. */
export async function allDone(closing: readonly Promise<void>[]): Promise<void> {
  const results = await Promise.allSettled(closing);
  throwAll(results.flatMap((each) => (each.status === 'rejected' ? [each.reason as unknown] : [])));
}

/** The blocking form of {@link allDone}: calls all. */
export function doAll(closing: readonly (() => void)[]): void {
  const errors: unknown[] = [];
  for (const close of closing) {
    try {
      close();
    } catch (error) {
      errors.push(error);
    }
  }
  throwAll(errors);
}

/** One error as it is, several as an AggregateError. */
function throwAll(errors: readonly unknown[]): void {
  if (errors.length === 0) return;
  if (errors.length === 1) throw errors[0];
  const message = `${errors.length} operations failed: ${errors.map(messageOf).join('; ')}`;
  throw new AggregateError(errors, message);
}

/**
 * Runs a task; where it fails, undoes what it leaves behind and throws its error, or both errors
 * where that fails too.
 */
export function* undoing<T>(task: Steps<T>, undo: Steps<void>): Steps<T> {
  try {
    return yield* task;
  } catch (error) {
    return yield* undoAndThrow(error, undo);
  }
}

/** Undoes what a failed step leaves behind, then throws its error, or both where that fails too. */
export function* undoAndThrow(error: unknown, undo: Steps<void>): Steps<never> {
  try {
    yield* undo;
  } catch (other) {
    throw bothErrors(error, other);
  }
  throw error;
}

/** The error of an operation, and that of closing what it left open. */
export function bothErrors(error: unknown, closing: unknown): AggregateError {
  const each = `${messageOf(error)}; ${messageOf(closing)}`;
  const message = `an operation failed, and so did closing what it left open: ${each}`;
  return new AggregateError([error, closing], message, { cause: error });
}

/** The promise form of {@link undoAndThrow}. */
export function closeAndThrow(error: unknown, close: () => Promise<void>): Promise<never> {
  return run(
    undoAndThrow(
      error,
      either(close, () => undefined),
    ),
  );
}

/** Its blocking form. */
export function closeSyncAndThrow(error: unknown, close: () => void): never {
  return runSync(
    undoAndThrow(
      error,
      either(() => Promise.resolve(), close),
    ),
  );
}

/** Lets tasks run one after the other, in the order in which they were asked for. */
export class Mutex {
  #last: Promise<unknown> = Promise.resolve();
  #running = 0;

  /** Whether a task runs, or waits for its turn. */
  get busy(): boolean {
    return this.#running > 0;
  }

  /**
   * Awaits, and gives its promise to the caller alone: V8 finds the caller's frame for the stack of
   * an error along promises that one awaits, and not by `then`, nor where several wait.
   */
  async run<T>(task: () => Promise<T>): Promise<T> {
    this.#running++;
    const before = this.#last;
    let end: (() => void) | undefined;
    this.#last = new Promise<void>((resolve) => (end = resolve));
    try {
      await before;
      return await task();
    } finally {
      this.#running--;
      end?.();
    }
  }

  /**
   * Runs a task when its turn comes. The blocking form cannot wait for that: where another task
   * runs or waits, it throws what `busy` makes.
   */
  take<T>(task: () => Steps<T>, busy: () => Error): Steps<T> {
    return either(
      () => this.run(() => run(task())),
      () => {
        if (this.busy) throw busy();
        return runSync(task());
      },
    );
  }
}
