import { tracingChannel } from 'node:diagnostics_channel';
import { checkFdNumber, invalidType } from '../core/arguments.ts';
import type { Answer } from '../core/binding.ts';
import { counted } from '../core/counted.ts';
import { ECANCELED, EINVAL, ENOTTY } from '../core/errno.ts';
import { VfioError } from '../core/errors.ts';
import { defineInspect } from '../core/inspect_handle.ts';
import { type OperationChannel, type Outcome, told } from '../core/operations.ts';
import type { DeviceNode } from '../core/owned_fd.ts';
import type { Cause } from '../core/reasons.ts';
import { closeSyncAndThrow, doAll, run, runSync, type Steps } from '../core/steps.ts';
import { makeUncloneable } from '../core/uncloneable.ts';
import type { IrqInfo } from '../info/decode.ts';
import {
  closeEventfds,
  duplicateEventfd,
  Eventfd,
  makeEventfds,
  openEventfds,
  type VectorEventfd,
} from './eventfd.ts';
import {
  action,
  type Action,
  type Attempt,
  checkEventfds,
  checkVector,
  checkVectors,
  checkWhich,
  disabledError,
  type EnableOptions,
  IrqLines,
  isTooFew,
  owner,
  type Owner,
  refused,
  tooFew,
} from './set_irqs.ts';
import { InterruptVector } from './vector.ts';

/** What an interrupt has to know of its device, and of the device's other interrupts. */
export interface DeviceInterrupts {
  readonly bound: DeviceNode;
  readonly address: string;
  /** Which other one is enabled that excludes this one. */
  rivalOf(interrupt: { readonly name: string; readonly index: number }): Interrupt | undefined;
  /** Undefined where it is not seen at once. */
  isBusMaster(): boolean | undefined;
  /** The error of an interrupt, or a vector, that the device does not have. */
  noIrq(what: string): VfioError;
  /**
   * Enabling and disabling happen one after the other: one index may have to wait for another.
   *
   * @throws VfioError `ERR_VFIO_BUSY` of the blocking form, which cannot wait
   */
  inTurn<T>(task: () => Steps<T>): Steps<T>;
  /** @throws VfioError `ERR_VFIO_CLOSED` */
  requireOpen(): void;
}

/**
 * An interrupt that is enabled or disabled, as the tracing channels `vfio:enable` and
 * `vfio:disable` tell it. Those that go with their device are told by its `vfio:close`.
 */
export interface InterruptMessage extends Outcome<unknown> {
  /** The device's address. */
  device: string;
  /** The interrupt that is enabled or disabled. */
  interrupt: Interrupt;
  /** How many vectors are to be enabled; of `vfio:disable` 0. */
  vectors: number;
}

export const enables: OperationChannel<InterruptMessage> = tracingChannel('vfio:enable');

export const disables: OperationChannel<InterruptMessage> = tracingChannel('vfio:disable');

/**
 * One of a device's interrupt indexes, such as `msix`: off, or enabled with some vectors. Of a PCI
 * function's `intx`, `msi` and `msix` only one is enabled at a time.
 */
export class Interrupt {
  readonly #device: DeviceInterrupts;
  readonly #irq: IrqInfo;
  readonly #lines: IrqLines;
  /** What each vector is tied to; empty while the interrupt is off. */
  #eventfds: readonly VectorEventfd[] = [];
  #vectors: readonly InterruptVector[] = [];
  #masked = false;
  #resample: VectorEventfd;
  /** By {@link arm}: what tells of the device itself, which a reset leaves as it is. */
  #isArmed = false;

  static {
    defineInspect(this, 'Interrupt', (interrupt) => {
      const { name, count } = interrupt.#irq;
      const state = interrupt.enabled ? 'enabled' : 'disabled';
      const vectors = interrupt.#eventfds.length;
      return { address: interrupt.#device.address, name, count, vectors, state };
    });
  }

  private constructor(device: DeviceInterrupts, irq: IrqInfo) {
    makeUncloneable(this);
    this.#device = device;
    this.#irq = irq;
    this.#lines = new IrqLines(device.bound, irq.index);
  }

  /** @internal */
  static of(device: DeviceInterrupts, irq: IrqInfo): Interrupt {
    return new Interrupt(device, irq);
  }

  /** In `device.info.irqs`. */
  get index(): number {
    return this.#irq.index;
  }

  /** `intx`, `msi`, `msix`, `err`, `req` on PCI; `irq<index>` otherwise. */
  get name(): string {
    return this.#irq.name;
  }

  /** How many vectors the device has; 0 where it has no such interrupt. */
  get count(): number {
    return this.#irq.count;
  }

  /** `eventfd`, `maskable`, `automasked`, `noresize`. */
  get flags(): readonly string[] {
    return this.#irq.flags;
  }

  /**
   * Whether some of its vectors are tied to eventfds: ours, the caller's, or the package's own. An
   * interrupt is the same for all who have the device in this process: also where another thread
   * enabled it, which then has its vectors.
   */
  get enabled(): boolean {
    return this.#whose() !== owner.nobody;
  }

  /** Its name in errors. */
  get #title(): string {
    return `${this.name} of ${this.#device.address}`;
  }

  /** Whether it was enabled here, and not by another owner of the device. @internal */
  get isOurs(): boolean {
    return this.#whose() === owner.self;
  }

  /** The vectors that are enabled here, unless the caller gave eventfds of its own. */
  get vectors(): readonly InterruptVector[] {
    return this.#vectors;
  }

  /**
   * Enables vectors from 0 on, one unless told otherwise, each with an eventfd of its own
   * (VFIO_DEVICE_SET_IRQS). With `{ eventfds }` the vectors signal the caller's, and none of ours
   * is returned.
   *
   * An `automasked` interrupt (INTx) masks itself when it happens, until {@link unmask}.
   *
   * @param what - how many vectors, or the caller's eventfds
   * @throws TypeError, RangeError for arguments that cannot be right
   * @throws VfioError `ENOSPC` or `ERR_VFIO_TOO_FEW_VECTORS`: the kernel gives not so many vectors;
   *   `available` says how many, and none was enabled. `EINVAL`: another of intx, msi, msix is
   *   enabled, or an eventfd of the caller's is none (reason `not-an-eventfd`). `EBUSY` of intx: its line is another device's, too (reason `intx-line-taken`).
   *   `ERR_VFIO_NO_IRQ` where its count is 0. `ERR_VFIO_IRQ_ENABLED`: it is enabled, here or by
   *   another thread that has the device. `ERR_VFIO_BUSY` (in `enableSync`, while another is being
   *   enabled or disabled), `ERR_VFIO_CLOSED`
   */
  async enable(what: number | EnableOptions = 1): Promise<readonly InterruptVector[]> {
    const wanted = this.#check(what);
    return await run(this.#toldEnable(wanted));
  }

  /** The blocking form of {@link enable}. */
  enableSync(what: number | EnableOptions = 1): readonly InterruptVector[] {
    const wanted = this.#check(what);
    return runSync(this.#toldEnable(wanted));
  }

  #toldEnable(wanted: number | readonly (number | null)[]): Steps<readonly InterruptVector[]> {
    const vectors = typeof wanted === 'number' ? wanted : wanted.length;
    const task = this.#device.inTurn(() => this.#enable(wanted));
    return told(enables, () => this.#message(vectors), task);
  }

  #toldDisable(): Steps<void> {
    const task = this.#device.inTurn(() => this.#disable());
    return told(disables, () => this.#message(0), task);
  }

  #message(vectors: number): InterruptMessage {
    return { device: this.#device.address, interrupt: this, vectors };
  }

  /**
   * Changes how many vectors are enabled. Those that stay are the same objects. Where the interrupt
   * has the flag `noresize` (MSI, and MSI-X where the platform cannot do better) more vectors are
   * had by switching all off and on again: `gap` then says that interrupts in between were lost.
   *
   * @param vectors - how many are to be enabled, 1 at least
   * @throws as {@link enable}; `ERR_VFIO_IRQ_DISABLED` where it is not enabled with vectors of
   *   ours. Where growing fails after a gap, the interrupt is off.
   */
  async resize(vectors: number): Promise<{ vectors: readonly InterruptVector[]; gap: boolean }> {
    const wanted = checkVectors(vectors, this.#irq);
    return await run(this.#device.inTurn(() => this.#resize(wanted)));
  }

  /** The blocking form of {@link resize}. */
  resizeSync(vectors: number): { vectors: readonly InterruptVector[]; gap: boolean } {
    const wanted = checkVectors(vectors, this.#irq);
    return runSync(this.#device.inTurn(() => this.#resize(wanted)));
  }

  /**
   * Disables the interrupt. When this is done the kernel signals none any more, and what it counted
   * before has been told: no interrupt is delivered afterwards, and the iterators are over.
   * Harmless where it is off. Where another thread enabled it, that one's vectors end when its
   * event loop turns.
   *
   * @throws VfioError `ERR_VFIO_BUSY` (of `disableSync`, while another is being enabled or
   *   disabled); `ERR_VFIO_CLOSED`
   */
  async disable(): Promise<void> {
    await run(this.#toldDisable());
  }

  /** The blocking form of {@link disable}. */
  disableSync(): void {
    runSync(this.#toldDisable());
  }

  /**
   * Masks a vector: it is held back until {@link unmask}.
   *
   * @param vector - its index, 0 unless told otherwise
   * @throws TypeError, RangeError for a vector that the interrupt does not have
   * @throws VfioError `ENOTTY` where the interrupt is not `maskable`, as MSI and MSI-X; `EINVAL`
   *   where it is off (reason `irq-disabled`); `ERR_VFIO_CLOSED`
   */
  mask(vector = 0): void {
    this.#act(action.mask, checkVector(vector, this.#irq));
    this.#masked = true;
  }

  /**
   * Unmasks a vector, after {@link mask} or after an `automasked` interrupt.
   *
   * @param vector - its index, 0 unless told otherwise
   * @throws as {@link mask}
   */
  unmask(vector = 0): void {
    this.#act(action.unmask, checkVector(vector, this.#irq));
    this.#masked = false;
  }

  /**
   * Has the kernel unmask the interrupt whenever an eventfd of the caller's is signalled (INTx, as
   * KVM's resamplefd does); null ends that.
   *
   * @param eventfd - its descriptor's number, or null
   * @throws TypeError, RangeError for what is no descriptor's number
   * @throws VfioError `EBUSY` where one is registered already; `EBADF`, and `EINVAL` for what is no
   *   eventfd (reason `not-an-eventfd`); `ENOTTY`, `EINVAL`, `ERR_VFIO_CLOSED` as {@link mask}
   */
  resample(eventfd: number | null): void {
    const lines = this.#lines;
    const line = eventfd === null ? undefined : duplicateEventfd(checkFdNumber('eventfd', eventfd));
    try {
      this.#checkAct(runSync(lines.setEventfds(action.unmask, 0, [line])), [line]);
    } catch (error) {
      closeSyncAndThrow(error, () => line?.close());
    }
    const before = this.#resample;
    this.#resample = line;
    before?.close();
  }

  /**
   * Signals a vector as the device would, for trying out: vector 0, another, or with an array of
   * booleans those that are true.
   *
   * @param which - the vector's index, or for each vector whether it is signalled
   * @throws TypeError, RangeError for vectors that the interrupt does not have
   * @throws VfioError `EINVAL` where the interrupt is off (reason `irq-disabled`); `ERR_VFIO_CLOSED`
   */
  trigger(which: number | readonly boolean[] = 0): void {
    const checked = checkWhich(which, this.#irq);
    if (typeof checked === 'number') this.#act(action.trigger, checked);
    else this.#checkAct(this.#lines.actOn(action.trigger, checked));
  }

  /**
   * Enables vector 0 for the package itself: without a vector of ours, and keeping neither the
   * event loop nor the device alive. Answers its eventfd; `absent` where the driver tells of the
   * interrupt and does not know it, `taken` where another owner of the device has it.
   *
   * @internal
   */
  arm(callback: (count: number) => void): Eventfd | 'absent' | 'taken' {
    if (!this.#lines.claim()) return 'taken';
    let line: Eventfd | undefined;
    try {
      line = Eventfd.open(`vector 0 of ${this.#title}`);
      const answer = runSync(this.#lines.setEventfds(action.trigger, 0, [line]));
      if (answer === ENOTTY || answer === EINVAL) {
        this.#giveUp([line]);
        return 'absent';
      }
      this.#lines.check(answer);
      line.watch(callback, false);
    } catch (error) {
      return closeSyncAndThrow(error, () => {
        this.#giveUp([line]);
      });
    }
    this.#eventfds = [line];
    this.#isArmed = true;
    return line;
  }

  /** Another owner of the device may have disabled it: ends it here as well. @internal */
  notice(): void {
    if (this.#eventfds.length === 0 || this.isOurs) return;
    const facts = { address: this.#device.address, interrupt: this.name };
    this.end({ reason: 'disabled-elsewhere', certainty: 'certain', facts });
  }

  /**
   * Establishes again what a reset may have undone. What another thread enabled is the kernel's to
   * restore, as it does with the device's whole configuration.
   *
   * @internal
   */
  *restore(): Steps<void> {
    if (this.#eventfds.length === 0 || this.#isArmed) return;
    try {
      yield* this.#restore();
    } catch (error) {
      this.notice();
      // Where another thread has disabled it, there is nothing to restore.
      if (this.#eventfds.length > 0) throw error;
    }
  }

  *#restore(): Steps<void> {
    yield* this.#lines.disable();
    this.#lines.check(yield* this.#lines.setEventfds(action.trigger, 0, this.#eventfds));
    if (this.#resample) {
      this.#lines.check(yield* this.#lines.setEventfds(action.unmask, 0, [this.#resample]));
    }
    if (this.#masked) this.#lines.check(this.#lines.act(action.mask, 0));
  }

  /**
   * The kernel signals none any more: tells what is left and closes the eventfds. `cause` where the
   * program did not want it.
   *
   * @internal
   */
  end(cause?: Cause): void {
    const [vectors, eventfds, resample] = [this.#vectors, this.#eventfds, this.#resample];
    this.#resample = undefined;
    this.#eventfds = [];
    this.#vectors = [];
    this.#masked = false;
    this.#isArmed = false;
    const ends = vectors.map((vector) => () => {
      vector.end(cause);
    });
    const close = (): void => {
      closeEventfds(eventfds);
    };
    doAll([...ends, close, () => resample?.close()]);
  }

  *#enable(wanted: number | readonly (number | null)[]): Steps<readonly InterruptVector[]> {
    this.notice();
    this.#claim();
    const lines: VectorEventfd[] = [];
    try {
      lines.push(...openEventfds(this.#title, wanted));
      const answer = yield* this.#lines.setEventfds(action.trigger, 0, lines);
      if (isTooFew(answer)) {
        const available = answer > 0 ? answer : yield* this.#lines.findAvailable(lines);
        throw tooFew(this.#attempt(lines), answer, available);
      }
      return this.#enabledBy(answer, wanted, lines);
    } catch (error) {
      return closeSyncAndThrow(error, () => {
        this.#giveUp(lines);
      });
    }
  }

  *#resize(wanted: number): Steps<{ vectors: readonly InterruptVector[]; gap: boolean }> {
    this.notice();
    const gap = this.#needsGap(wanted);
    const { kept, added, dropped } = this.#plan(wanted);
    try {
      if (gap) yield* this.#lines.disable();
      if (dropped.length > 0) yield* this.#removeEventfds(kept.length, dropped.length);
      const answer = gap
        ? yield* this.#lines.setEventfds(action.trigger, 0, [...kept, ...added])
        : yield* this.#addEventfds(kept.length, added);
      this.#grow(answer, gap, kept, added);
    } catch (error) {
      this.notice();
      return closeSyncAndThrow(error, () => {
        closeEventfds(added);
      });
    }
    return { vectors: this.#vectors, gap };
  }

  *#disable(): Steps<void> {
    this.notice();
    if (!this.enabled) return;
    yield* this.#lines.release();
    this.end();
  }

  /**
   * What is tied here may be another's by now, or off: who has the device elsewhere can disable it.
   */
  #whose(): Owner {
    const ours = this.#eventfds.length > 0 ? owner.self : owner.nobody;
    if (this.#device.bound.fd.closed) return ours;
    const found = this.#lines.owner;
    // One that is only claimed is being enabled.
    return found === owner.self ? ours : found;
  }

  /** @throws VfioError `ERR_VFIO_IRQ_ENABLED` */
  #claim(): void {
    const isFree = this.#eventfds.length === 0;
    if (isFree && this.#lines.claim()) return;
    const { address } = this.#device;
    const by = isFree
      ? 'by another owner of the device in this process, such as another thread'
      : `with ${counted(this.#eventfds.length, 'vector')}`;
    throw new VfioError({
      code: 'ERR_VFIO_IRQ_ENABLED',
      message: `${this.#title} is enabled already, ${by}`,
      device: address,
    });
  }

  /** It was claimed, and is not to be enabled. */
  #giveUp(lines: readonly VectorEventfd[]): void {
    this.#lines.unclaim();
    closeEventfds(lines);
  }

  #act(act: Action, vector: number): void {
    this.#checkAct(this.#lines.act(act, vector));
  }

  /** Throws what the kernel answered to a call that only an enabled interrupt takes. */
  #checkAct(answer: Answer, eventfds: readonly VectorEventfd[] = []): void {
    if (answer === EINVAL && !this.enabled) {
      throw disabledError(this.#device.bound.location, this.name);
    }
    this.#lines.check(answer, eventfds);
  }

  #check(what: unknown): number | readonly (number | null)[] {
    if (this.count === 0) throw this.#device.noIrq(`no vectors of ${this.name}`);
    if (typeof what === 'number') return checkVectors(what, this.#irq);
    if (typeof what === 'object' && what !== null && 'eventfds' in what) {
      return checkEventfds(what.eventfds, this.#irq);
    }
    throw invalidType('vectors', 'a number of vectors or { eventfds }', what);
  }

  /** What keeps interrupts from coming, where it is seen at once. */
  readonly #whyNone = (): Cause | undefined => {
    const isMessage = this.name === 'msi' || this.name === 'msix';
    if (!isMessage || this.#device.isBusMaster() !== false) return undefined;
    const facts = { address: this.#device.address, interrupt: this.name };
    return { reason: 'bus-master-off', certainty: 'likely', facts };
  };

  #attempt(lines: readonly VectorEventfd[]): Attempt {
    const { location, roots } = this.#device.bound;
    return {
      name: this.name,
      vectors: lines.length,
      rival: this.#device.rivalOf(this)?.name,
      location,
      roots,
    };
  }

  #refused(lines: readonly VectorEventfd[], answer: number): Error {
    if (answer === ECANCELED) return this.#lines.taken();
    return refused(this.#attempt(lines), answer, lines);
  }

  /** The kernel has nothing enabled any more, and nobody is to have it. */
  #isOff(): void {
    this.end();
    this.#lines.unclaim();
  }

  #enabledBy(
    answer: number,
    wanted: number | readonly unknown[],
    lines: readonly VectorEventfd[],
  ): readonly InterruptVector[] {
    if (answer < 0) throw this.#refused(lines, answer);
    this.#device.requireOpen();
    this.#eventfds = lines;
    this.#vectors = typeof wanted === 'number' ? this.#vectorsOver(0, lines) : [];
    return this.#vectors;
  }

  #vectorsOver(start: number, lines: readonly VectorEventfd[]): InterruptVector[] {
    return lines.flatMap((line, at) =>
      line ? InterruptVector.of(this, start + at, line, this.#whyNone) : [],
    );
  }

  #needsGap(wanted: number): boolean {
    if (this.#vectors.length === 0) {
      throw new VfioError({
        code: 'ERR_VFIO_IRQ_DISABLED',
        message: `${this.#title} is not enabled with vectors of its own`,
        device: this.#device.address,
      });
    }
    return wanted > this.#eventfds.length && this.flags.includes('noresize');
  }

  #plan(wanted: number): {
    kept: VectorEventfd[];
    added: VectorEventfd[];
    dropped: VectorEventfd[];
  } {
    const kept = this.#eventfds.slice(0, wanted);
    return {
      kept,
      added: makeEventfds(this.#title, kept.length, wanted - kept.length),
      dropped: this.#eventfds.slice(wanted),
    };
  }

  *#removeEventfds(start: number, count: number): Steps<void> {
    const none = Array.from({ length: count }, () => undefined);
    this.#lines.check(yield* this.#lines.setEventfds(action.trigger, start, none));
    for (const vector of this.#vectors.slice(start)) vector.end();
    this.#eventfds = this.#eventfds.slice(0, start);
    this.#vectors = this.#vectors.slice(0, start);
  }

  *#addEventfds(start: number, added: readonly VectorEventfd[]): Steps<number> {
    return added.length === 0 ? 0 : yield* this.#lines.setEventfds(action.trigger, start, added);
  }

  #grow(
    answer: number,
    gap: boolean,
    kept: readonly VectorEventfd[],
    added: readonly VectorEventfd[],
  ): void {
    if (answer !== 0) {
      const all = [...kept, ...added];
      if (gap) this.#isOff();
      if (isTooFew(answer)) throw tooFew(this.#attempt(all), answer, Math.max(answer, kept.length));
      throw this.#refused(all, answer);
    }
    this.#device.requireOpen();
    this.#eventfds = [...kept, ...added];
    this.#vectors = [...this.#vectors, ...this.#vectorsOver(kept.length, added)];
  }
}
