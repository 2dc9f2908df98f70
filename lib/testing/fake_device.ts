import { checkInteger, invalidType, invalidValue } from '../core/arguments.ts';
import type { Binding } from '../core/binding.ts';
import { FakeBar } from './bar.ts';
import { ConfigSpace, type TablePlace } from './config_space.ts';
import type { BarName, DeviceParts, FakeDeviceOptions, FakeReset } from './device_options.ts';
import { DmaFault, readDma, writeDma } from './dma.ts';
import type { IoSpace } from './io_space.ts';
import { type FakeIrq, IrqLines, irqIndex } from './irq_lines.ts';
import { Removal } from './removal.ts';

/** A PCI device of the fake machine, from the device's side. */
export class FakeDevice {
  /** `0000:3b:00.0` */
  readonly address: string;
  /** Transfers that reached no memory, in their order: the log that an IOMMU has. */
  readonly dmaFaults: DmaFault[] = [];
  /** @internal */
  readonly options: FakeDeviceOptions;
  /** @internal */
  readonly group: number;
  /** @internal */
  readonly cdev: { name: string; major: number; minor: number };
  /** @internal */
  readonly config: ConfigSpace;
  /** @internal */
  readonly irqs: IrqLines;
  /** By index. @internal */
  readonly bars: ReadonlyMap<number, FakeBar>;
  /** @internal */
  readonly table: TablePlace | undefined;
  /** What it is attached to. @internal */
  space: IoSpace | undefined;
  /** Tells of what DMA wrote. @internal */
  dirty: ((iova: bigint, length: bigint) => void) | undefined;
  /** The configuration space was written to. @internal */
  onConfig: () => void = () => undefined;
  /** Its id in the iommufd that it is bound to; 0 where it is not. @internal */
  devId = 0;
  /** Whether the kernel told of a removal, or of an error. @internal */
  readonly told: [request: boolean, error: boolean] = [false, false];
  #isPlugged = true;
  #removal: Removal | undefined;
  readonly #onGone: (device: FakeDevice) => void;

  /** @internal */
  constructor(
    native: Binding,
    options: FakeDeviceOptions,
    parts: DeviceParts,
    place: { address: string; group: number; cdev: FakeDevice['cdev'] },
    onGone: (device: FakeDevice) => void,
  ) {
    this.options = options;
    this.address = place.address;
    this.group = place.group;
    this.cdev = place.cdev;
    this.#onGone = onGone;
    this.table = parts.table;
    const { intx, msi, msix, express } = parts;
    this.config = new ConfigSpace(parts, () => {
      this.doReset('function');
    });
    this.irqs = new IrqLines(native, [intx ? 1 : 0, msi, msix, express ? 1 : 0, 1], (asserted) => {
      this.config.setIntxStatus(asserted);
    });
    this.bars = barsOf(native, parts);
  }

  /** One of its BARs. @throws RangeError where it has none of that name */
  bar(name: BarName): FakeBar {
    const bar = this.bars.get(Number(name.slice(3)));
    if (bar === undefined) throw new RangeError(`${this.address} has no ${name}`);
    return bar;
  }

  /** The configuration space, as the device has it. */
  get configBytes(): Uint8Array {
    return this.config.bytes;
  }

  /** Whether a program has it open. */
  get isOpen(): boolean {
    return this.devId !== 0;
  }

  /**
   * How many vectors of an interrupt a program has enabled; 0 of one that the device does not have.
   *
   * @throws TypeError for what is no interrupt's name
   */
  enabledVectors(irq: FakeIrq): number {
    return this.irqs.enabled(indexOf(irq));
  }

  /**
   * Signals an interrupt, by the eventfd that the program tied to it: a message, or INTx for a
   * moment.
   *
   * @param vector - of MSI and MSI-X; 0 by default
   * @returns whether a program is tied to it; a device does not know that
   * @throws TypeError for what is no interrupt's name; RangeError where the device has no such
   *   interrupt, or no such vector of it
   */
  interrupt(irq: FakeIrq, vector = 0): boolean {
    const index = indexOf(irq);
    const count = this.irqs.counts[index] ?? 0;
    if (count === 0) throw new RangeError(`${this.address} has no ${irq}`);
    const expected = `a vector of ${irq} of ${this.address}, an integer from 0 to ${count - 1}`;
    checkInteger('vector', vector, 0, count - 1, expected);
    if (!this.#isPlugged) return false;
    if (irq === 'req') this.told[0] = true;
    if (irq === 'err') this.told[1] = true;
    return this.irqs.signal(index, vector);
  }

  /**
   * Asserts INTx, until it is called with false: unmasked, it happens again at once.
   *
   * @param asserted - the level from now on
   */
  assertIntx(asserted: boolean): void {
    if (this.#isPlugged) this.irqs.setIntx(asserted);
  }

  /**
   * Reads memory by DMA: through the maps of the address space that the device is attached to.
   *
   * @param iova - where it begins
   * @param length - in bytes
   * @throws DmaFault where the IOMMU refuses it, or bus mastering is off. A hook may let it pass:
   *   the program's access then ends as it does on hardware, which tells it nothing.
   */
  readMemory(iova: bigint, length: number): Uint8Array {
    return readDma(this, iova, length);
  }

  /** Writes memory by DMA, as {@link readMemory} reads. @throws DmaFault */
  writeMemory(iova: bigint, bytes: Uint8Array): void {
    writeDma(this, iova, bytes);
  }

  /**
   * Somebody wants the device back, as when its driver is unbound or its slot's button is pressed:
   * the program is told (interrupt `req`), and the device goes when the program has closed it.
   * Resolves then; until then the process does not end by itself.
   */
  async requestRemoval(): Promise<void> {
    if (!this.isOpen) {
      this.#isPlugged = false;
      this.#onGone(this);
      return;
    }
    this.#removal ??= new Removal();
    this.interrupt('req');
    await this.#removal.done;
  }

  /**
   * Pulls it out, with nobody asked: from now on accesses of its memory are EIO, reads of its ports
   * and of its configuration space are all ones, writes of those are lost, no interrupt and no DMA
   * happens. The kernel then asks for the device (interrupt `req`). Resolves when no program has it
   * open any more; until then the process does not end by itself.
   */
  async unplug(): Promise<void> {
    this.#isPlugged = false;
    this.told[0] = true;
    this.irqs.signal(irqIndex.req, 0);
    if (!this.isOpen) this.#onGone(this);
    else {
      this.#removal ??= new Removal();
      await this.#removal.done;
    }
  }

  /** @internal */
  get isPlugged(): boolean {
    return this.#isPlugged;
  }

  /** Whether it answers at its ports. @internal */
  get answersPorts(): boolean {
    return this.#isPlugged && this.config.answersPorts;
  }

  /** Whether it answers at its memory. @internal */
  get answersMemory(): boolean {
    return this.#isPlugged && this.config.answersMemory;
  }

  /** @internal */
  doReset(kind: FakeReset): void {
    if (!this.#isPlugged) return;
    for (const bar of this.bars.values()) bar.reset();
    this.irqs.setIntx(false);
    this.options.onReset?.(kind);
  }

  /** The program closed it: what waits for that is told. @internal */
  released(): void {
    if (this.#removal === undefined) return;
    this.#isPlugged = false;
    this.#removal.end();
    this.#onGone(this);
  }

  /** @internal */
  dispose(): void {
    this.#isPlugged = false;
    this.told[0] = true;
    this.irqs.clear();
    for (const bar of this.bars.values()) bar.dispose();
    this.#removal?.end();
  }

  /** Of one that nobody got to see. @internal */
  discard(): void {
    for (const bar of this.bars.values()) bar.discard();
  }
}

/** @throws TypeError */
function indexOf(irq: FakeIrq): number {
  const expected = `one of ${Object.keys(irqIndex).join(', ')}`;
  if (typeof irq !== 'string') throw invalidType('irq', expected, irq);
  if (!Object.hasOwn(irqIndex, irq)) throw invalidValue('irq', expected, irq);
  return irqIndex[irq];
}

/** All of them, or none. */
function barsOf(native: Binding, { bars }: DeviceParts): Map<number, FakeBar> {
  const made = new Map<number, FakeBar>();
  try {
    for (const [index, bar] of bars) made.set(index, new FakeBar(native, `bar${index}`, bar));
  } catch (error) {
    for (const bar of made.values()) bar.discard();
    throw error;
  }
  return made;
}
