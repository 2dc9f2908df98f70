import { PerformanceObserver } from 'node:perf_hooks';
import { setTimeout } from 'node:timers/promises';

/** Counts the runs of the garbage collector from now on. */
export class Collections {
  readonly #observer: PerformanceObserver;
  #count = 0;

  constructor() {
    this.#observer = new PerformanceObserver((list) => {
      this.#count += list.getEntries().length;
    });
    this.#observer.observe({ entryTypes: ['gc'] });
  }

  /** How many there were. The engine tells of them a turn of the event loop later. */
  async count(): Promise<number> {
    await setTimeout(50);
    this.#observer.disconnect();
    return this.#count;
  }
}
