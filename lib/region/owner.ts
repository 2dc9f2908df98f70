import type { EventEmitter } from 'node:events';
import { messageOf } from '../core/errors.ts';
import type { DeviceNode } from '../core/owned_fd.ts';
import {
  closingAll,
  either,
  type HasClose,
  run,
  runSync,
  type Steps,
  withAll,
} from '../core/steps.ts';
import { tellError } from '../core/warnings.ts';
import type { RegionInfo } from '../info/decode.ts';

/** The mappings of one device that are open: they would keep it bound after it is closed. */
export class OpenMappings {
  readonly #open = new Set<HasClose>();

  add(mapped: HasClose): void {
    this.#open.add(mapped);
  }

  delete(mapped: HasClose): void {
    this.#open.delete(mapped);
  }

  close(): Promise<void> {
    return run(this.#close());
  }

  closeSync(): void {
    runSync(this.#close());
  }

  #close(): Steps<void> {
    return closingAll([...this.#open]);
  }
}

/** The bound device that a region is of. */
export interface RegionOwner extends Pick<DeviceNode, 'fd' | 'location'> {
  mappings: OpenMappings;
  /** Where other devices reach its memory. */
  peers: PeerMaps;
  /** Its configuration space, where it is a PCI device. */
  config: RegionInfo | undefined;
}

/**
 * A map of its memory for other devices, a {@link PeerMapping}: it emits `error` where mapping
 * again fails.
 */
export interface PeerMap extends EventEmitter {
  /** Whether it is not unmapped yet. */
  readonly mapped: boolean;
  /** The kernel took it away. */
  revoke(): void;
  /** Maps it again where it was revoked; it stays so where the memory does not answer. */
  restore(): Promise<void>;
  /** The blocking form of {@link restore}. */
  restoreSync(): void;
  unmap(): Promise<void>;
  /** Its device is closed. */
  endSync(): void;
}

/** What keeps a device's memory from answering, until it is switched back. */
export type Obstacle = 'decoding' | 'power' | 'low-power';

/** Where other devices reach the memory of one device: taken away and brought back with it. */
export class PeerMaps implements HasClose {
  readonly #all = new Set<PeerMap>();
  readonly #obstacles = new Set<Obstacle>();

  add(mapping: PeerMap): void {
    for (const each of this.#all) if (!each.mapped) this.#all.delete(each);
    this.#all.add(mapping);
  }

  /** Whether something keeps the memory from answering. */
  get blocked(): boolean {
    return this.#obstacles.size > 0;
  }

  /** The memory answers no more. */
  block(obstacle: Obstacle): void {
    this.#obstacles.add(obstacle);
    this.#revoke();
  }

  /** It answers again, as far as this obstacle is concerned. */
  *unblock(obstacle: Obstacle): Steps<void> {
    this.#obstacles.delete(obstacle);
    yield* this.#restore();
  }

  /** The device was reset, which ends sleep. */
  *reset(): Steps<void> {
    this.#obstacles.delete('power');
    this.#revoke();
    yield* this.#restore();
  }

  /** Like {@link unblock}, for whoever cannot wait: the mappings tell of what fails. */
  unblockLater(obstacle: Obstacle): void {
    this.#obstacles.delete(obstacle);
    for (const each of this.#all) {
      each.restore().catch((error: unknown) => {
        tellError(each, error as Error, 'VFIO_NOT_MAPPED');
      });
    }
  }

  /** The device is closed. */
  async close(): Promise<void> {
    await run(this.#close());
  }

  /** The blocking form of {@link close}. */
  closeSync(): void {
    runSync(this.#close());
  }

  #close(): Steps<void> {
    return withAll(
      [...this.#all],
      (each) => each.unmap(),
      (each) => {
        each.endSync();
      },
    );
  }

  #revoke(): void {
    for (const each of this.#all) each.revoke();
  }

  /** All are tried, whatever becomes of the ones before. */
  *#restore(): Steps<void> {
    const errors: unknown[] = [];
    for (const each of this.#all) {
      try {
        yield* either(
          () => each.restore(),
          () => {
            each.restoreSync();
          },
        );
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length === 1) throw errors[0];
    if (errors.length > 1)
      throw new AggregateError(
        errors,
        `regions were not mapped again: ${errors.map(messageOf).join('; ')}`,
      );
  }
}
