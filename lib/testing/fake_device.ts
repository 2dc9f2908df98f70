import type { Binding } from '../core/binding.ts';
import { FakeBar, type FakeBarOptions } from './bar.ts';
import {
  ConfigSpace,
  type FakeCapability,
  type FakeExtendedCapability,
  tableAndPendingBytes,
  type TablePlace,
} from './config_space.ts';
import { DmaFault, readDma, writeDma } from './dma.ts';
import type { IoSpace } from './io_space.ts';
import { type FakeIrq, IrqLines, irqIndex } from './irq_lines.ts';

/** How a BAR is called. */
export type BarName = 'bar0' | 'bar1' | 'bar2' | 'bar3' | 'bar4' | 'bar5';

/** Which reset a device is told of. */
export type FakeReset =
  /** A program opened the device, or closed it, and the kernel reset it. */
  | 'open'
  | 'close'
  /** VFIO_DEVICE_RESET, or the bit of PCI Express. */
  | 'function'
  /** VFIO_DEVICE_PCI_HOT_RESET */
  | 'hot';

/** A PCI device that the fake machine has, bound to vfio-pci. */
export interface FakeDeviceOptions {
  /** `0000:3b:00.0`; the next that is free by default. */
  address?: string | undefined;
  /** 0x1234 by default. */
  vendor?: number | undefined;
  /** 0x5678 by default. */
  device?: number | undefined;
  /** The 24 bits of the class, 0x010802 for an NVMe controller; 0xff0000 by default. */
  classCode?: number | undefined;
  /** 0 by default. */
  revision?: number | undefined;
  /** Its `vendor` by default. */
  subsystemVendor?: number | undefined;
  /** Its `device` by default. */
  subsystemDevice?: number | undefined;
  /** Its BARs; without them it has none but that of MSI-X. */
  bars?: Partial<Record<BarName, FakeBarOptions>> | undefined;
  /** Whether it has INTx; true by default. */
  intx?: boolean | undefined;
  /** Vectors of MSI: a power of two up to 32; 0, none, by default. */
  msi?: number | undefined;
  /** Vectors of MSI-X, up to 2,048; 0 by default. */
  msix?: number | undefined;
  /** Where MSI-X has its table; in a BAR of its own by default, the last that is free. */
  msixTable?: { bar: BarName; offset: number } | undefined;
  /** Whether it has a function-level reset; true by default. */
  reset?: boolean | undefined;
  /**
   * More capabilities: one of the same id as ours, which are 0x01 power management, 0x10 PCI
   * Express, 0x05 MSI and 0x11 MSI-X, takes its place.
   */
  capabilities?: readonly FakeCapability[] | undefined;
  /** Its extended capabilities; none by default. */
  extendedCapabilities?: readonly FakeExtendedCapability[] | undefined;
  /** Whether it is a PCI Express function; true by default. Others report no errors (`err`). */
  express?: boolean | undefined;
  /** Whether it has power management; true by default. */
  power?: boolean | undefined;
  /** Its IOMMU group; one of its own by default. */
  group?: number | undefined;
  /** Is told of a reset, when the BARs hold what they did at first. */
  onReset?: ((kind: FakeReset) => void) | undefined;
  /** Is told of a write to the configuration space, when it is there. */
  onConfigWrite?: ((offset: number, width: number) => void) | undefined;
  /**
   * VFIO_DEVICE_FEATURE: `bytes` are the feature's data, to be read or filled; answers 0, or a
   * negative errno. Without this the device has none (ENOTTY).
   */
  onFeature?: ((feature: number, operation: number, bytes: Uint8Array) => number) | undefined;
}

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
  #removal: PromiseWithResolvers | undefined;
  readonly #onGone: (device: FakeDevice) => void;

  /** @internal */
  constructor(
    native: Binding,
    options: FakeDeviceOptions,
    place: { address: string; group: number; cdev: FakeDevice['cdev'] },
    onGone: (device: FakeDevice) => void,
  ) {
    this.options = options;
    this.address = place.address;
    this.group = place.group;
    this.cdev = place.cdev;
    this.#onGone = onGone;
    const { intx = true, msi = 0, msix = 0, reset = true } = options;
    const { express = true, power = true } = options;
    checkVectors(msi, msix);
    const wanted = barsOf(options);
    this.table = msix > 0 ? tableOf(options, wanted) : undefined;
    const { vendor = 0x1234, device = 0x5678, classCode = 0xff0000, revision = 0 } = options;
    const { subsystemVendor = vendor, subsystemDevice = device } = options;
    const { capabilities = [], extendedCapabilities = [] } = options;
    const ids = { vendor, device, classCode, revision, subsystemVendor, subsystemDevice };
    const msixTable = this.table ?? { bar: 0, offset: 0 };
    const parts = { bars: wanted, intx, msi, msix, msixTable, reset, express, power };
    this.config = new ConfigSpace({ ...ids, ...parts, capabilities, extendedCapabilities }, () => {
      this.doReset('function');
    });
    this.irqs = new IrqLines(native, [intx ? 1 : 0, msi, msix, express ? 1 : 0, 1], (asserted) => {
      this.config.setIntxStatus(asserted);
    });
    this.bars = new Map(
      [...wanted].map(([index, bar]) => [index, new FakeBar(native, `bar${index}`, bar)]),
    );
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

  /** How many vectors of an interrupt a program has enabled. */
  enabledVectors(irq: FakeIrq): number {
    return this.irqs.enabled(irqIndex[irq]);
  }

  /**
   * Signals an interrupt, by the eventfd that the program tied to it: a message, or INTx for a
   * moment.
   *
   * @param vector - of MSI and MSI-X; 0 by default
   * @returns whether a program is tied to it; a device does not know that
   */
  interrupt(irq: FakeIrq, vector = 0): boolean {
    if (!this.#isPlugged) return false;
    if (irq === 'req') this.told[0] = true;
    if (irq === 'err') this.told[1] = true;
    return this.irqs.signal(irqIndex[irq], vector);
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
   */
  async requestRemoval(): Promise<void> {
    if (!this.isOpen) {
      this.#isPlugged = false;
      this.#onGone(this);
      return;
    }
    this.#removal ??= withResolvers();
    this.interrupt('req');
    await this.#removal.promise;
  }

  /**
   * Pulls it out, with nobody asked: from now on reads of mapped memory are EIO, its configuration
   * space reads as all ones, writes are lost, no interrupt and no DMA happens. The kernel then asks
   * for the device (interrupt `req`). Resolves when no program has it open any more.
   */
  async unplug(): Promise<void> {
    this.#isPlugged = false;
    this.told[0] = true;
    this.irqs.signal(irqIndex.req, 0);
    if (!this.isOpen) this.#onGone(this);
    else {
      this.#removal ??= withResolvers();
      await this.#removal.promise;
    }
  }

  /** @internal */
  get isPlugged(): boolean {
    return this.#isPlugged;
  }

  /** Whether it answers at its BARs. @internal */
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
    this.#onGone(this);
    this.#removal.resolve();
  }

  /** @internal */
  dispose(): void {
    this.#isPlugged = false;
    this.irqs.clear();
    for (const bar of this.bars.values()) bar.dispose();
    this.#removal?.resolve();
  }
}

interface PromiseWithResolvers {
  promise: Promise<void>;
  resolve: () => void;
}

/** As Promise.withResolvers of Node 22. */
function withResolvers(): PromiseWithResolvers {
  let resolve = (): void => undefined;
  const promise = new Promise<void>((resolved) => {
    resolve = resolved;
  });
  return { promise, resolve };
}

function checkVectors(msi: number, msix: number): void {
  if (![0, 1, 2, 4, 8, 16, 32].includes(msi)) {
    throw new RangeError(`msi is a power of two up to 32, or 0, not ${msi}`);
  }
  if (!Number.isInteger(msix) || msix < 0 || msix > 2048) {
    throw new RangeError(`msix is a number from 0 to 2,048, not ${msix}`);
  }
}

function barsOf({ bars = {} }: FakeDeviceOptions): Map<number, FakeBarOptions> {
  const all = new Map<number, FakeBarOptions>();
  for (const [name, bar] of Object.entries(bars)) {
    const index = /^bar([0-5])$/.exec(name)?.[1];
    if (index === undefined) throw new TypeError(`there is no BAR '${name}'`);
    const { size } = bar;
    if (
      !Number.isInteger(size) ||
      size < 4 ||
      size > 2 ** 32 ||
      !Number.isInteger(Math.log2(size))
    ) {
      throw new RangeError(
        `${name}: its size is a power of two from 4 bytes to 4 GiB, not ${size}`,
      );
    }
    all.set(Number(index), bar);
  }
  const wide = [...all].find(([index, bar]) => bar.wide === true && all.has(index + 1));
  if (wide) throw new RangeError(`bar${wide[0]} is wide, so there is no bar${wide[0] + 1}`);
  return new Map([...all].sort(([one], [other]) => one - other));
}

/** Where the table of MSI-X is; makes a BAR for it where nothing is said. */
function tableOf(
  { msix = 0, msixTable }: FakeDeviceOptions,
  bars: Map<number, FakeBarOptions>,
): TablePlace {
  const bytes = tableAndPendingBytes(msix);
  if (msixTable !== undefined) {
    const { bar, offset } = msixTable;
    const size = bars.get(Number(bar.slice(3)))?.size ?? 0;
    if (offset % 8 !== 0 || offset + bytes > size) {
      throw new RangeError(`the table of ${msix} vectors has ${bytes} bytes, which ${bar} has not`);
    }
    return { bar: Number(bar.slice(3)), offset };
  }
  const isFree = (index: number): boolean => !bars.has(index) && bars.get(index - 1)?.wide !== true;
  const bar = [5, 4, 3, 2, 1, 0].find(isFree);
  if (bar === undefined) throw new RangeError('there is no BAR left for the table of MSI-X');
  bars.set(bar, { size: Math.max(4096, 2 ** Math.ceil(Math.log2(bytes))) });
  return { bar, offset: 0 };
}
