/** Lets tasks run one after the other, in the order in which they were asked for. */
export class Turns {
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
}
