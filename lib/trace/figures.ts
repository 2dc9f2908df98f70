import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { VfioError } from '../core/errors.ts';
import type { OperationChannel, Outcome } from '../core/operations.ts';
import { closes, opens, type VfioDevice } from '../device/device.ts';
import { disables, enables, type Interrupt } from '../interrupt/interrupt.ts';
import { maps, type MapMessage, unmaps, type UnmapMessage } from '../iommu/channels.ts';
import type { DmaMapping } from '../iommu/mapping.ts';
import { resets } from '../reset/channels.ts';

/** What an exporter counts of what this thread does with devices. */
export interface Figures {
  /** Devices that were opened, and that are open. */
  opens: number;
  /** See `opens`. */
  openDevices: number;
  /** Resets of one device, and hot resets. */
  resets: number;
  /** What was mapped for devices, what was unmapped, and the bytes that are mapped. */
  maps: number;
  /** See `maps`. */
  unmaps: number;
  /** See `maps`. */
  mappedBytes: number;
  /** Interrupts that are enabled: `msix` of one device is one, with however many vectors. */
  enabledInterrupts: number;
  /**
   * How often something failed, by the error's `code`; `other` where that is no {@link VfioError}.
   * Each error of an AggregateError is counted.
   */
  errors: Record<string, number>;
}

/** What {@link countFigures} answers. */
export interface FigureCounter {
  /** The figures now. Those of what there is are found by looking at it, which takes its time. */
  read(): Figures;
  /** Ends the counting. */
  stop(): void;
  /** At the end of a block with `using`: {@link stop}. */
  [Symbol.dispose](): void;
}

/**
 * Counts from now on what this thread does, by listening to the channels of this package, and to
 * nothing else: what is done before is not counted, so an exporter calls it first.
 *
 * ```ts
 * const figures = countFigures();
 * setInterval(() => report(figures.read()), 10_000).unref();
 * ```
 *
 * Failures of openings, closings, resets, maps, and of enabling and disabling interrupts are counted
 * as errors. Nothing is kept from being collected; what is collected is counted no more as open,
 * mapped or enabled.
 */
export function countFigures(): FigureCounter {
  return new Counter();
}

/** Objects of which those are counted that are there still, and in a state. */
class Living<T extends object> {
  readonly #all = new Set<WeakRef<T>>();
  readonly #refs = new WeakMap<T, WeakRef<T>>();

  add(one: T): void {
    if (this.#refs.has(one)) return;
    const ref = new WeakRef(one);
    this.#refs.set(one, ref);
    this.#all.add(ref);
  }

  remove(one: T): void {
    const ref = this.#refs.get(one);
    if (ref === undefined) return;
    this.#refs.delete(one);
    this.#all.delete(ref);
  }

  /** Those in the state; the others are forgotten. */
  those(isIn: (one: T) => boolean): T[] {
    const found: T[] = [];
    for (const ref of this.#all) {
      const one = ref.deref();
      if (one !== undefined && isIn(one)) found.push(one);
      else if (one !== undefined) this.remove(one);
      else this.#all.delete(ref);
    }
    return found;
  }
}

class Counter implements FigureCounter {
  readonly #counts = { opens: 0, resets: 0, maps: 0, unmaps: 0 };
  readonly #errors = new Map<string, number>();
  readonly #devices = new Living<VfioDevice>();
  readonly #mappings = new Living<DmaMapping>();
  readonly #interrupts = new Living<Interrupt>();
  readonly #ends: (() => void)[] = [];

  constructor() {
    this.#hear(opens, ({ result }) => {
      if (result === undefined) return;
      this.#counts.opens++;
      this.#devices.add(result);
    });
    this.#hear(closes, ({ device }) => {
      this.#devices.remove(device);
    });
    this.#hear(resets, ({ error }) => {
      if (error === undefined) this.#counts.resets++;
    });
    this.#hear(enables, ({ error, interrupt }) => {
      if (error === undefined) this.#interrupts.add(interrupt);
    });
    this.#hear(disables, () => undefined);
    this.#hearMaps();
  }

  read(): Figures {
    const mapped = this.#mappings.those((mapping) => mapping.mapped);
    return {
      ...this.#counts,
      openDevices: this.#devices.those(() => true).length,
      mappedBytes: mapped.reduce((bytes, { size }) => bytes + size, 0),
      enabledInterrupts: this.#interrupts.those(({ enabled }) => enabled).length,
      errors: Object.fromEntries(this.#errors),
    };
  }

  stop(): void {
    for (const end of this.#ends.splice(0)) end();
  }

  [Symbol.dispose](): void {
    this.stop();
  }

  /** Hears of each operation once, when it is over. */
  #hear<Message extends Outcome<unknown>>(
    channel: OperationChannel<Message>,
    count: (message: Message) => void,
  ): void {
    const over = (message: Message): void => {
      // The message of a promise has neither when the function that began it returns.
      if (!('result' in message) && !('error' in message)) return;
      if ('error' in message) this.#countError(message.error);
      count(message);
    };
    const nothing = (): void => undefined;
    const heard = {
      start: nothing,
      end: over,
      asyncStart: nothing,
      asyncEnd: over,
      error: nothing,
    };
    channel.subscribe(heard);
    this.#ends.push(() => {
      channel.unsubscribe(heard);
    });
  }

  #hearMaps(): void {
    const mapped = (message: unknown): void => {
      const { mapping, error } = message as MapMessage;
      if (mapping === undefined) {
        this.#countError(error);
        return;
      }
      this.#counts.maps++;
      this.#mappings.add(mapping);
    };
    const unmapped = (message: unknown): void => {
      this.#counts.unmaps++;
      this.#mappings.remove((message as UnmapMessage).mapping);
    };
    subscribe(maps.name, mapped);
    subscribe(unmaps.name, unmapped);
    this.#ends.push(() => {
      unsubscribe(maps.name, mapped);
      unsubscribe(unmaps.name, unmapped);
    });
  }

  #countError(error: unknown): void {
    // Several failed at once, as where a device and its interrupts do not close well.
    if (error instanceof AggregateError) {
      for (const each of error.errors) this.#countError(each);
      return;
    }
    const code = error instanceof VfioError ? error.code : 'other';
    this.#errors.set(code, (this.#errors.get(code) ?? 0) + 1);
  }
}
