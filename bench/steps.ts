/** The steps from an address to closed descriptors, as bench/baseline/open.c names them. */
export const steps = ['lookup', 'open', 'bind', 'info', 'attach', 'close', 'release'] as const;

export type Step = (typeof steps)[number];

/** Nanoseconds of each step. */
export type Round = Record<Step, number>;

/** Measures a round, step after step. */
export class Stopwatch {
  readonly round: Round = {
    lookup: 0,
    open: 0,
    bind: 0,
    info: 0,
    attach: 0,
    close: 0,
    release: 0,
  };
  #last = process.hrtime.bigint();

  /** Ends a step; the next one begins. */
  lap(step: Step): void {
    const now = process.hrtime.bigint();
    this.round[step] = Number(now - this.#last);
    this.#last = process.hrtime.bigint();
  }
}
