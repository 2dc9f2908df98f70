import { EventEmitter } from 'node:events';
import { requireBoolean, requireObject } from '../arguments.ts';
import { defineInspect } from '../inspect_handle.ts';
import { binding } from '../binding.ts';
import { Eventfd } from '../interrupt/eventfd.ts';
import { noData, operation, type FeatureCalls } from './call.ts';
import { feature } from './names.ts';

/** What is told of low power. */
export interface LowPowerEvents {
  /** The device has left low power, and does not go back by itself. */
  wakeup: [];
}

/**
 * Low power while nobody uses the device. What the kernel has to do with it, a read of a region or an
 * ioctl, wakes it for that time; mapped regions fault until it has left low power.
 */
export class LowPower extends EventEmitter<LowPowerEvents> {
  readonly #calls: FeatureCalls;
  #event: Eventfd | undefined;

  static {
    defineInspect(this, 'LowPower', (one) => one.#calls.shown);
  }

  private constructor(calls: FeatureCalls) {
    super();
    this.#calls = calls;
  }

  /** @internal */
  static of(calls: FeatureCalls): LowPower {
    return new LowPower(calls);
  }

  /**
   * Lets the device go to low power. With `wakeup` the first access that wakes it ends this, and
   * `wakeup` is emitted; waiting for it keeps the event loop alive.
   *
   * @throws TypeError; VfioError `ERR_VFIO_UNSUPPORTED`, `EINVAL` where it is allowed already,
   *   `ERR_VFIO_CLOSED`
   */
  async enter(options: { wakeup?: boolean | undefined } = {}): Promise<void> {
    requireObject('options', options);
    const { wakeup } = options;
    requireBoolean('wakeup', wakeup);
    if (wakeup !== true) {
      await this.#calls.run(feature.lowPowerEntry | operation.set, noData);
      return;
    }
    const event = Eventfd.open('the wake-up eventfd');
    try {
      const answer = await binding().lowPowerWakeup(this.#calls.native, event.native);
      this.#calls.check(answer, feature.lowPowerEntryWithWakeup);
      event.watch(() => {
        this.end();
        this.emit('wakeup');
      }, true);
    } catch (error) {
      event.close();
      throw error;
    }
    this.#event = event;
  }

  /**
   * Takes the device out of low power, for good. May itself be what wakes it, which `wakeup` tells.
   *
   * @throws VfioError `ERR_VFIO_UNSUPPORTED`, `ERR_VFIO_CLOSED`
   */
  async exit(): Promise<void> {
    await this.#calls.run(feature.lowPowerExit | operation.set, noData);
    if (this.#event !== undefined && this.#event.read() > 0) this.emit('wakeup');
    this.end();
  }

  /** Nothing wakes the device any more. @internal */
  end(): void {
    this.#event?.close();
    this.#event = undefined;
  }
}
