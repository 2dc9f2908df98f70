import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { OpenStep } from '../../index.ts';

/** The steps from an address to closed descriptors. */
export const steps = ['lookup', 'open', 'bind', 'info', 'attach', 'close'] as const;

export type Step = (typeof steps)[number];

/** Nanoseconds of each step that a path has. */
export type Round = Partial<Record<Step, number>>;

/** Measures a round. */
export class Stopwatch {
  readonly round: Round = {};
  #last = process.hrtime.bigint();

  /** What passed since the last lap belongs to `step`, and is added to what it has. */
  lap(step: Step): void {
    const now = process.hrtime.bigint();
    this.round[step] = (this.round[step] ?? 0) + Number(now - this.#last);
    this.#last = process.hrtime.bigint();
  }
}

/** The stopwatches of the devices that are being opened, by address. */
export class Watches {
  readonly #watches = new Map<string | undefined, Stopwatch>();
  readonly #hear = (message: unknown): void => {
    const { step, device } = message as OpenStep;
    this.#watches.get(device)?.lap(step);
  };

  /** Listens to the library's own word of each step, until it is disposed of. */
  constructor() {
    subscribe('vfio:open', this.#hear);
  }

  start(address: string): Stopwatch {
    const watch = new Stopwatch();
    this.#watches.set(address, watch);
    return watch;
  }

  [Symbol.dispose](): void {
    unsubscribe('vfio:open', this.#hear);
  }
}
