import type { Binding, NativeFd } from '../core/binding.ts';
import { fs } from '../core/builtins.ts';
import { EBUSY, EINVAL, ENOTTY } from '../core/errno.ts';

/** What a PCI device can signal, by the numbers of VFIO. */
export const irqIndex: Readonly<Record<FakeIrq, number>> = {
  intx: 0,
  msi: 1,
  msix: 2,
  err: 3,
  req: 4,
};

/** An interrupt, by its name. */
export type FakeIrq = 'intx' | 'msi' | 'msix' | 'err' | 'req';

/** VFIO_IRQ_SET_ACTION_* */
const [MASK, UNMASK, TRIGGER] = [8, 16, 32];

/** VFIO_IRQ_INFO_* of each index: eventfd, maskable, automasked, noresize. */
const flags = [1 | 2 | 4, 1 | 8, 1, 1 | 8, 1 | 8];

/** Of these a function has one at a time. */
const rivals: readonly number[] = [irqIndex.intx, irqIndex.msi, irqIndex.msix];

/** The interrupts of a device, and the eventfds that the program tied to them. */
export class IrqLines {
  readonly counts: readonly number[];
  readonly #native: Binding;
  /** Of each index that is enabled, the eventfds of its vectors. */
  readonly #tied = new Map<number, (NativeFd | undefined)[]>();
  #masked = false;
  /** INTx is asserted by the device. */
  #asserted = false;
  /** The kernel has an interrupt to tell when it is unmasked. */
  #pending = false;
  #resample: NativeFd | undefined;
  readonly #onIntx: (asserted: boolean) => void;

  constructor(native: Binding, counts: readonly number[], onIntx: (asserted: boolean) => void) {
    this.#native = native;
    this.counts = counts;
    this.#onIntx = onIntx;
  }

  flagsOf(index: number): number {
    return flags[index] ?? 1;
  }

  /** How many vectors of it are enabled. */
  enabled(index: number): number {
    return this.#tied.get(index)?.length ?? 0;
  }

  /** Signals a vector; whether somebody is tied to it. */
  signal(index: number, vector: number): boolean {
    const event = this.#tied.get(index)?.[vector];
    if (event === undefined) return false;
    if (index !== irqIndex.intx) return this.#tell(event);
    if (this.#masked) {
      this.#pending = true;
      return true;
    }
    // INTx stays masked until the program unmasks it.
    this.#masked = true;
    return this.#tell(event);
  }

  /** The level of INTx. */
  setIntx(asserted: boolean): void {
    this.#asserted = asserted;
    this.#onIntx(asserted);
    if (asserted) this.signal(irqIndex.intx, 0);
    else this.#pending = false;
  }

  /** VFIO_DEVICE_SET_IRQS with eventfds: a handle of 0 stands for none. */
  tie(action: number, index: number, start: number, handles: Uint32Array): number {
    if (action !== TRIGGER) return this.#tieMask(action, index, handles);
    const problem = this.#problem(index, start, handles.length);
    if (problem !== 0) return problem;
    if (handles.some((handle) => this.#isStranger(handle))) return EINVAL;
    const lines = this.#tied.get(index) ?? [];
    for (const [at, handle] of handles.entries()) {
      this.#untie(lines[start + at]);
      lines[start + at] = handle === 0 ? undefined : this.#hold(handle as NativeFd);
    }
    for (let at = 0; at < lines.length; at++) lines[at] ??= undefined;
    this.#tied.set(index, lines);
    if (index === irqIndex.intx) this.#unmask();
    return 0;
  }

  /** The same without eventfds: count 0 disables, else it acts on so many from `start` on. */
  act(action: number, index: number, start: number, count: number): number {
    if (action === TRIGGER && count === 0) return this.#disable(index, start);
    const which = Array.from({ length: count }, (_, at) => start + at);
    return this.#actOn(action, index, which);
  }

  /** And on those whose byte is not 0. */
  actOnSome(action: number, index: number, start: number, bytes: Uint8Array): number {
    const which = [...bytes].flatMap((byte, at) => (byte === 0 ? [] : [start + at]));
    return this.#actOn(action, index, which);
  }

  /** The device is closed. */
  clear(): void {
    for (const index of [...this.#tied.keys()]) this.#disable(index, 0);
    this.#asserted = false;
  }

  #actOn(action: number, index: number, which: readonly number[]): number {
    if (action !== TRIGGER && index !== irqIndex.intx) return ENOTTY;
    const lines = this.#tied.get(index);
    if (lines === undefined || which.some((vector) => vector >= lines.length)) return EINVAL;
    if (action === MASK) this.#masked = true;
    else if (action === UNMASK) this.#unmask();
    else for (const vector of which) this.#trigger(index, vector);
    return 0;
  }

  /** As vfio_pci_set_intx_trigger has it: by hand, also a masked line is signalled. */
  #trigger(index: number, vector: number): void {
    const event = this.#tied.get(index)?.[vector];
    if (event !== undefined) this.#tell(event);
  }

  #tieMask(action: number, index: number, handles: Uint32Array): number {
    if (index !== irqIndex.intx || action !== UNMASK) return ENOTTY;
    if (!this.#tied.has(index)) return EINVAL;
    const [handle = 0] = handles;
    if (handle === 0) {
      this.#unwatch();
      return 0;
    }
    if (this.#resample !== undefined) return EBUSY;
    if (this.#isStranger(handle)) return EINVAL;
    const event = this.#hold(handle as NativeFd);
    this.#resample = event;
    this.#native.eventfdWatch(event, () => {
      this.#unmask();
    });
    this.#native.eventfdRef(event, false);
    return 0;
  }

  #unwatch(): void {
    if (this.#resample !== undefined) this.#native.closeSync(this.#resample);
    this.#resample = undefined;
  }

  #problem(index: number, start: number, count: number): number {
    const most = this.counts[index] ?? 0;
    if (start >= most || start + count > most) return EINVAL;
    if (rivals.includes(index)) {
      const rival = rivals.find((other) => other !== index && this.#tied.has(other));
      if (rival !== undefined) return EINVAL;
    }
    // Without dynamic allocation no more are had than at first.
    const lines = this.#tied.get(index);
    const isFixed = (this.flagsOf(index) & 8) !== 0;
    return lines !== undefined && isFixed && start + count > lines.length ? EINVAL : 0;
  }

  #disable(index: number, start: number): number {
    if (start >= (this.counts[index] ?? 0)) return EINVAL;
    for (const event of this.#tied.get(index) ?? []) this.#untie(event);
    this.#tied.delete(index);
    if (index !== irqIndex.intx) return 0;
    this.#unwatch();
    this.#masked = this.#pending = false;
    return 0;
  }

  #unmask(): void {
    this.#masked = false;
    const again = this.#asserted || this.#pending;
    this.#pending = false;
    if (again) this.signal(irqIndex.intx, 0);
  }

  #tell(event: NativeFd): boolean {
    return this.#native.eventfdWrite(event, 1) === 0;
  }

  /** The kernel keeps the eventfd when the program closes its descriptor. */
  #hold(handle: NativeFd): NativeFd {
    const number = this.#native.fdNumber(handle);
    const own = number === undefined || number < 0 ? number : this.#native.dup(number);
    if (own === undefined || own < 0) throw new Error('vfio/testing: an eventfd was closed');
    return own as NativeFd;
  }

  /** Whether it is a descriptor of something else than an eventfd. */
  #isStranger(handle: number): boolean {
    const number = handle === 0 ? undefined : this.#native.fdNumber(handle as NativeFd);
    if (number === undefined || number < 0) return false;
    return fs.readlinkSync(`/proc/self/fd/${number}`) !== 'anon_inode:[eventfd]';
  }

  #untie(event: NativeFd | undefined): void {
    if (event !== undefined) this.#native.closeSync(event);
  }
}
