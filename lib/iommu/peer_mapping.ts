import { EventEmitter } from 'node:events';
import { VfioError } from '../core/errors.ts';
import { defineInspect } from '../core/inspect_handle.ts';
import { either, Mutex, run, runSync, type Steps } from '../core/steps.ts';
import { makeUncloneable } from '../core/uncloneable.ts';
import type { DmaMapping } from './mapping.ts';
import type { MapPlan, Maps } from './maps.ts';
import type { RegionSource } from './region_source.ts';

/** What is told of a region's memory that other devices reach. */
export interface PeerMappingEvents {
  /** They reach it no more: its device was reset, its memory switched off, or it sleeps. */
  revoked: [];
  /** They reach it again, at the same address. */
  remapped: [];
  /** Its device woke up by itself, and mapping it again failed. */
  error: [error: Error];
}

/** The map of a region. */
export interface PeerPlan extends MapPlan {
  source: RegionSource;
}

/** IOMMU_IOAS_MAP_FIXED_IOVA */
const fixedIova = 1;

/**
 * A region's memory as devices reach it, their own transfers going from one to the other. Made by
 * {@link Ioas.mapRegion}.
 *
 * The kernel takes such a map away when the region's device is reset, has its memory decoding
 * switched off, or goes to D3hot or low power, and does not bring it back. What this library's own
 * calls do, in this thread, is made good by them: when the memory answers again, it is mapped again
 * at the same address before the call is done. Meanwhile, and where somebody else did it (another
 * program or thread, a write to the configuration space by its bytes), a transfer ends in a fault
 * of the IOMMU, which the kernel's log shows and nothing else: `remap()` mends that.
 */
export class PeerMapping extends EventEmitter<PeerMappingEvents> {
  readonly #maps: Maps;
  readonly #plan: PeerPlan;
  /** Undefined where it was taken away and is not back. */
  #mapping: DmaMapping | undefined;
  readonly #mutex = new Mutex();
  #revoked = false;
  #ended = false;

  /** @internal */
  static {
    defineInspect(this, 'PeerMapping', (one) => {
      const { owner, name } = one.#plan.source;
      const { address } = owner.location.device;
      return { address, name, iova: one.iova, size: one.size, state: one.#state };
    });
  }

  private constructor(maps: Maps, plan: PeerPlan, mapping: DmaMapping) {
    super();
    makeUncloneable(this);
    this.#maps = maps;
    this.#plan = { ...plan, iova: mapping.iova, fixed: true, flags: plan.flags | fixedIova };
    this.#mapping = mapping;
    plan.source.owner.peers.add(this);
  }

  /** @internal */
  static *make(maps: Maps, plan: PeerPlan): Steps<PeerMapping> {
    return new PeerMapping(maps, plan, yield* mapWith(maps, plan));
  }

  /** Where devices reach it. */
  get iova(): bigint {
    return this.#plan.iova;
  }

  /** In bytes. */
  get size(): number {
    return Number(this.#plan.source.length);
  }

  /** Whether it is not unmapped yet, by whatever call. One that is revoked is mapped. */
  get mapped(): boolean {
    return !this.#ended && (this.#mapping?.mapped ?? true);
  }

  /** Whether devices do not reach it now, as far as this library knows. */
  get revoked(): boolean {
    return this.#revoked && this.mapped;
  }

  /**
   * Maps it again at the same address, after somebody else took it away.
   *
   * @throws VfioError `ENODEV`, reason `region-unreachable`; what {@link Ioas.mapRegion} throws;
   *   `ERR_VFIO_CLOSED` where it is unmapped
   */
  async remap(): Promise<void> {
    await this.#mutex.run(() => run(this.#remap()));
  }

  /**
   * The blocking form of {@link remap}. @throws VfioError `ERR_VFIO_BUSY` while it is being mapped
   * again
   */
  remapSync(): void {
    this.#requireNoTurn();
    runSync(this.#remap());
  }

  /**
   * Unmaps it: when this resolves no device reaches the region. Harmless where it is unmapped
   * already, or the address space or the region's device is closed.
   *
   * @throws VfioError `EBUSY`
   */
  async unmap(): Promise<void> {
    this.#ended = true;
    await this.#mutex.run(async () => await this.#mapping?.unmap());
  }

  /**
   * The blocking form of {@link unmap}. @throws VfioError `ERR_VFIO_BUSY` while it is being mapped
   * again
   */
  unmapSync(): void {
    this.#requireNoTurn();
    this.#ended = true;
    this.#mapping?.unmapSync();
  }

  /** At the end of a block with `using`: {@link unmapSync}. */
  [Symbol.dispose](): void {
    this.unmapSync();
  }

  /** At the end of a block with `await using`: {@link unmap}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.unmap();
  }

  /** Its device is closed. @internal */
  endSync(): void {
    // Who is mapping it again undoes that, having seen that it ended.
    if (this.#mutex.busy) this.#ended = true;
    else this.unmapSync();
  }

  /** The kernel took it away. @internal */
  revoke(): void {
    if (!this.mapped || this.#revoked) return;
    this.#revoked = true;
    process.nextTick(() => this.emit('revoked'));
  }

  /** Maps it again where it was revoked; it stays so where the memory does not answer. @internal */
  async restore(): Promise<void> {
    await this.#mutex.run(() => run(this.#restore()));
  }

  /**
   * The blocking form of {@link restore}; who is at it in a turn sees that there is more to do.
   * @internal
   */
  restoreSync(): void {
    if (!this.#mutex.busy) runSync(this.#restore());
  }

  get #state(): string {
    if (!this.mapped) return 'unmapped';
    return this.#revoked ? 'revoked' : 'mapped';
  }

  *#restore(): Steps<void> {
    const { peers } = this.#plan.source.owner;
    while (this.revoked && !peers.blocked) {
      try {
        yield* this.#again();
      } catch (error) {
        if (error instanceof VfioError && error.reason === 'region-unreachable') return;
        throw error;
      }
    }
  }

  *#remap(): Steps<void> {
    if (!this.mapped) {
      const message = `the mapping at 0x${this.iova.toString(16)} is unmapped`;
      throw new VfioError({ code: 'ERR_VFIO_CLOSED', message });
    }
    this.#revoked = true;
    yield* this.#again();
  }

  *#again(): Steps<void> {
    const before = this.#mapping;
    if (before) yield* unmap(before);
    this.#mapping = undefined;
    // What takes it away from here on sets it again.
    this.#revoked = false;
    try {
      this.#mapping = yield* mapWith(this.#maps, this.#plan);
    } catch (error) {
      this.#revoked = true;
      throw error;
    }
    if (this.#ended) yield* unmap(this.#mapping);
    else process.nextTick(() => this.emit('remapped'));
  }

  #requireNoTurn(): void {
    if (!this.#mutex.busy) return;
    const message = `the mapping at 0x${this.iova.toString(16)} is being mapped again; await that first`;
    throw new VfioError({ code: 'ERR_VFIO_BUSY', message });
  }
}

function mapWith(maps: Maps, plan: PeerPlan): Steps<DmaMapping> {
  return either(
    () => maps.map(plan),
    () => maps.mapSync(plan),
  );
}

function unmap(mapping: DmaMapping): Steps<void> {
  return either(
    () => mapping.unmap(),
    () => {
      mapping.unmapSync();
    },
  );
}
