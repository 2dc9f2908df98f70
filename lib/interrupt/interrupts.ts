import { invalidType, outOfRange } from '../core/arguments.ts';
import { binding } from '../core/binding.ts';
import { check } from '../core/call.ts';
import { closedError, VfioError } from '../core/errors.ts';
import type { SysfsDevice } from '../core/location.ts';
import type { DeviceNode, OwnedFd } from '../core/owned_fd.ts';
import { shown } from '../core/shown.ts';
import { closeSyncAndThrow, doAll, Mutex, type Steps } from '../core/steps.ts';
import type { IrqInfo } from '../info/decode.ts';
import { Eventfd } from './eventfd.ts';
import { type DeviceInterrupts, Interrupt } from './interrupt.ts';

/** Those of a PCI function that exclude one another. */
const rivals = ['intx', 'msi', 'msix'];

/** A device's interrupts, and what they have to know of one another. */
export class Interrupts implements DeviceInterrupts {
  readonly bound: DeviceNode;
  /** Enabling and disabling happen one after the other: one index may have to wait for another. */
  readonly mutex: Mutex = new Mutex();
  readonly #decode: () => readonly IrqInfo[];
  readonly isBusMaster: () => boolean | undefined;
  #decoded: readonly IrqInfo[] | undefined;
  readonly #armed: Interrupt[] = [];
  readonly #known = new Map<number, Interrupt>();
  /** Signalled when another owner of the device disables what was enabled here. */
  #told: Eventfd | undefined;
  #ended = false;

  constructor(
    bound: DeviceNode,
    decode: () => readonly IrqInfo[],
    isBusMaster: () => boolean | undefined = () => undefined,
  ) {
    this.bound = bound;
    this.#decode = decode;
    this.isBusMaster = isBusMaster;
  }

  /**
   * Shares with all who have the device in this process who has which interrupt: before any is
   * used.
   */
  join(): void {
    joinOwners(this.bound.fd, this.bound.location.device, this.#told);
  }

  /** There are other owners, or will be: hears of it where they disable what was enabled here. */
  hearOfOthers(): void {
    if (this.#told !== undefined) return;
    const told = Eventfd.open('the eventfd of other owners');
    const reference = new WeakRef(this);
    try {
      told.watch(() => reference.deref()?.notice(), false);
    } catch (error) {
      closeSyncAndThrow(error, () => {
        told.close();
      });
    }
    this.#told = told;
    this.join();
  }

  /** What another owner may have disabled is over here, too; after what is under way. */
  notice(): void {
    const noticeAll = (): void => {
      for (const interrupt of this.#known.values()) interrupt.notice();
    };
    if (!this.mutex.busy) noticeAll();
    else void this.mutex.run(() => Promise.resolve().then(noticeAll));
  }

  get #irqs(): readonly IrqInfo[] {
    this.#decoded ??= this.#decode();
    return this.#decoded;
  }

  get address(): string {
    return this.bound.location.device.address;
  }

  /** The one of that name or index; always the same object. */
  get(which: string | number): Interrupt {
    checkSpec(which);
    const irqs = this.#irqs;
    const irq = irqs.find(({ name, index }) => which === name || which === index);
    if (irq === undefined) {
      const there = irqs.filter(({ count }) => count > 0);
      const names = there.map(({ name, index }) => `'${name}' (${index})`).join(', ');
      throw this.noIrq(`no interrupt ${shown(which)}; it has ${names || 'none'}`);
    }
    const known = this.#known.get(irq.index) ?? Interrupt.of(this, irq);
    this.#known.set(irq.index, known);
    return known;
  }

  noIrq(what: string): VfioError {
    const message = `${this.address} has ${what}`;
    return new VfioError({ code: 'ERR_VFIO_NO_IRQ', message, device: this.address });
  }

  /** Whether the interrupts of that name, where the device has them, call back. */
  get armed(): boolean {
    return this.#armed.some(({ isOurs }) => isOurs);
  }

  /**
   * Has the interrupt of that name call back, where the device has it; and all who have the device
   * in this process find it as the notice `kind`, without an event loop.
   */
  arm(name: string, kind: number, callback: (count: number) => void): void {
    const irq = this.#irqs.find((one) => one.name === name && one.count > 0);
    const interrupt = irq && this.get(irq.index);
    const line = interrupt ? interrupt.arm(callback) : 'absent';
    if (line === 'taken') return;
    if (interrupt && line !== 'absent') this.#armed.push(interrupt);
    const event = line === 'absent' ? 0 : line.native;
    check(binding().noticesWatch(this.bound.fd.native, kind, event), { syscall: 'noticesWatch' });
  }

  /** It called back, so that the eventfd says so no more: all who have the device find it still. */
  tell(kind: number): void {
    const { fd } = this.bound;
    if (fd.closed) return;
    check(binding().noticesTell(fd.native, kind), { syscall: 'noticesTell' });
  }

  /** Ends what {@link arm} began. @throws VfioError `ERR_VFIO_BUSY`, having ended nothing */
  disarm(): void {
    for (const interrupt of [...this.#armed]) {
      if (interrupt.isOurs) interrupt.disableSync();
      this.#armed.shift();
    }
  }

  /** Which other one is enabled that excludes this one. */
  rivalOf({ name, index }: Pick<Interrupt, 'name' | 'index'>): Interrupt | undefined {
    if (!rivals.includes(name)) return undefined;
    const others = this.#irqs.filter((irq) => irq.index !== index && rivals.includes(irq.name));
    return others.map((irq) => this.get(irq.index)).find(({ enabled }) => enabled);
  }

  /**
   * Runs a task while no other enables or disables interrupts of the device. The blocking form
   * cannot wait for that.
   *
   * @throws VfioError `ERR_VFIO_BUSY` of the blocking form
   */
  inTurn<T>(task: () => Steps<T>): Steps<T> {
    return this.mutex.take(task, () => this.#busy());
  }

  #busy(): VfioError {
    return new VfioError({
      code: 'ERR_VFIO_BUSY',
      message: `interrupts of ${this.address} are being enabled or disabled; await that first`,
      device: this.address,
    });
  }

  /** @throws VfioError `ERR_VFIO_CLOSED` */
  requireOpen(): void {
    if (this.#ended) throw closedError(this.address, this.bound.fd.closing);
  }

  /** Establishes again what a reset may have undone: in a turn that the caller has. */
  *restore(): Steps<void> {
    for (const interrupt of this.#known.values()) yield* interrupt.restore();
  }

  /** The device is closed: the kernel has let go of all of them. */
  end(): void {
    this.#ended = true;
    const ends = [...this.#known.values()].map((interrupt) => () => {
      interrupt.end(this.bound.fd.closing);
    });
    doAll([...ends, () => this.#told?.close()]);
  }
}

/** A descriptor is one more of those that this process has of the device. */
export function joinOwners(fd: OwnedFd, device: SysfsDevice, told?: Eventfd): void {
  const { bus, address } = device;
  const answer = binding().irqsJoin(fd.native, `${bus}:${address}`, told ? told.native : 0);
  check(answer, { syscall: 'irqsJoin' });
}

function checkSpec(which: unknown): void {
  const expected = "an interrupt's name such as 'msix', or its index";
  if (typeof which === 'string') return;
  if (typeof which !== 'number') throw invalidType('interrupt', expected, which);
  if (!Number.isInteger(which) || which < 0) throw outOfRange('interrupt', expected, which);
}
