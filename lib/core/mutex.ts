import { either, run, runSync, type Steps } from './steps.ts';

/** Lets tasks run one after the other, in the order in which they were asked for. */
export class Mutex {
  #last: Promise<unknown> = Promise.resolve();
  #running = 0;

  /** Whether a task runs, or waits for its turn. */
  get busy(): boolean {
    return this.#running > 0;
  }

  run<T>(task: () => Promise<T>): Promise<T> {
    this.#running++;
    const result = this.#last.then(task).finally(() => {
      this.#running--;
    });
    // How it ends is for the caller to hear; the next task starts either way.
    this.#last = result.catch(() => undefined);
    return result;
  }

  /**
   * Runs a task when its turn comes. The blocking form cannot wait for that: where another task runs or
   * waits, it throws what `busy` makes.
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
