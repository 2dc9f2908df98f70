import { defineInspect } from '../core/inspect_handle.ts';
import type { SharedToken } from '../core/shared_token.ts';
import { closeSyncAndThrow } from '../core/steps.ts';
import { Eventfd } from './eventfd.ts';
import { takeLifeline } from './lifeline.ts';
import { InterruptVector } from './vector.ts';

/**
 * A vector that another thread enabled and shared. Its interrupts are told in this thread, without
 * the other's event loop. It is over, as after `disable()`, when the other disables the interrupt,
 * closes the device or ends; what was counted until then is told before. That it is there keeps
 * nothing of the other's open.
 */
export class SharedVector extends InterruptVector {
  static {
    defineInspect(this, 'SharedVector', (vector) => vector.inspected());
  }

  /** @internal */
  static adopt({ fd, line, what, interrupt, index }: SharedToken<'vector'>): SharedVector {
    const event = Eventfd.take(fd, what);
    try {
      // Weakly, since what is polled would keep one that the program dropped.
      const weak: { vector?: WeakRef<SharedVector> } = {};
      const lifeline = takeLifeline(line, what, () => weak.vector?.deref()?.end());
      const vector = new SharedVector(interrupt, index, event, { lifeline });
      weak.vector = new WeakRef(vector);
      return vector;
    } catch (error) {
      return closeSyncAndThrow(error, () => {
        event.close();
      });
    }
  }

  /**
   * Ends it here: the iterators are over, who waits hears `ERR_VFIO_CLOSED`, and the interrupts
   * that come from then on are for the other threads. Closing twice is harmless.
   *
   * @throws VfioError what the kernel answers; the descriptor is closed all the same
   */
  close(): void {
    this.end();
  }

  /** At the end of a block with `using`: {@link close}. */
  [Symbol.dispose](): void {
    this.close();
  }
}
