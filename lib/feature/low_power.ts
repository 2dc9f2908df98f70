import { EventEmitter } from 'node:events';
import { requireBoolean, requireObject } from '../core/arguments.ts';
import { defineInspect } from '../core/inspect_handle.ts';
import { call, closeSyncAndThrow, run, runSync, type Steps, undoAndThrow } from '../core/steps.ts';
import { makeUncloneable } from '../core/uncloneable.ts';
import { Eventfd } from '../interrupt/eventfd.ts';
import type { PeerMaps } from '../region/owner.ts';
import { feature, type FeatureCalls, noData, operation } from './call.ts';

/** What is told of low power. */
export interface LowPowerEvents {
  /** The device has left low power, and does not go back by itself. */
  wakeup: [];
}

/**
 * Low power while nobody uses the device. What the kernel has to do with it, a read of a region or
 * an ioctl, wakes it for that time. Mapped regions do not: from the entry on, each access of one is
 * `EIO`, and no other device reaches its memory, until low power is left.
 */
export class LowPower extends EventEmitter<LowPowerEvents> {
  readonly #calls: FeatureCalls;
  readonly #peers: PeerMaps;
  #event: Eventfd | undefined;

  static {
    defineInspect(this, 'LowPower', (one) => one.#calls.shown);
  }

  private constructor(calls: FeatureCalls, peers: PeerMaps) {
    super();
    makeUncloneable(this);
    this.#calls = calls;
    this.#peers = peers;
  }

  /** @internal */
  static of(calls: FeatureCalls, peers: PeerMaps): LowPower {
    return new LowPower(calls, peers);
  }

  /**
   * Lets the device go to low power, now or a little later. With `wakeup` the first access through
   * the kernel ends this, or what the device does by itself (PME), and `wakeup` is emitted, once;
   * waiting for it keeps the event loop alive.
   *
   * @throws TypeError; VfioError `ERR_VFIO_UNSUPPORTED`, `EINVAL` where it is allowed already,
   *   `ERR_VFIO_CLOSED`
   */
  async enter(options: { wakeup?: boolean | undefined } = {}): Promise<void> {
    await run(this.#enter(checkWakeup(options)));
  }

  /** The blocking form of {@link enter}. */
  enterSync(options: { wakeup?: boolean | undefined } = {}): void {
    runSync(this.#enter(checkWakeup(options)));
  }

  /**
   * Takes the device out of low power, for good. May itself be what wakes it, which `wakeup` tells.
   *
   * @throws VfioError `ERR_VFIO_UNSUPPORTED`, `ERR_VFIO_CLOSED`
   */
  async exit(): Promise<void> {
    await run(this.#exit());
  }

  /** The blocking form of {@link exit}. */
  exitSync(): void {
    runSync(this.#exit());
  }

  /** Nothing wakes the device any more. @internal */
  end(): void {
    this.#event?.close();
    this.#event = undefined;
  }

  *#enter(wakeup: boolean): Steps<void> {
    if (!wakeup) {
      yield* this.#calls.bytesOf(feature.lowPowerEntry | operation.set, noData);
      this.#peers.block('low-power');
      return;
    }
    const event = Eventfd.open(`the wake-up eventfd of ${this.#calls.address}`);
    try {
      const answer = yield* call('lowPowerWakeup', this.#calls.native, event.native);
      this.#calls.check(answer, feature.lowPowerEntryWithWakeup);
      yield* this.#listen(event);
    } catch (error) {
      return closeSyncAndThrow(error, () => {
        event.close();
      });
    }
    this.#event = event;
    this.#peers.block('low-power');
  }

  /** Whoever could not hear that the device woke is not to have it sleep. */
  *#listen(event: Eventfd): Steps<void> {
    try {
      event.watch(() => {
        this.end();
        this.#peers.unblockLater('low-power');
        this.emit('wakeup');
      }, true);
    } catch (error) {
      yield* undoAndThrow(error, this.#wake());
    }
  }

  *#wake(): Steps<void> {
    yield* this.#calls.bytesOf(feature.lowPowerExit | operation.set, noData);
  }

  *#exit(): Steps<void> {
    yield* this.#wake();
    if (this.#event !== undefined && this.#event.read() > 0) this.emit('wakeup');
    this.end();
    yield* this.#peers.unblock('low-power');
  }
}

function checkWakeup(options: { wakeup?: boolean | undefined }): boolean {
  requireObject('options', options);
  const { wakeup } = options;
  requireBoolean('wakeup', wakeup);
  return wakeup ?? false;
}
