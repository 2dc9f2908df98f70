import { outOfRange } from '../core/arguments.ts';
import type { FakeBarOptions } from './bar_options.ts';

type Bars = ReadonlyMap<number, FakeBarOptions>;

/** What is where in a register: bits 0 to 3 say what it is, of ports bits 0 and 1. */
const [ports, wideMemory] = [1, 4];

const below4GiB = 0x1_0000_0000;

/** The six registers of BARs, as a program sees them: vfio-pci has virtual ones. */
export class BarRegisters {
  /** What the host gave them, which no program changes. */
  readonly #host = new Uint8Array(24);
  readonly #shown = new Uint8Array(24);
  /** A bit for each that is of the address. */
  readonly #mask = new Uint8Array(24);

  constructor(bars: Bars) {
    const host = new DataView(this.#host.buffer);
    const mask = new DataView(this.#mask.buffer);
    for (const [index, address] of addressesOf(bars)) {
      const { size = 0, io = false, wide = false } = bars.get(index) ?? {};
      const addressBits = BigInt.asUintN(64, ~BigInt(size - 1));
      const kind = io ? ports : wide ? wideMemory : 0;
      host.setUint32(4 * index, Number(BigInt.asUintN(32, address)) | kind, true);
      mask.setUint32(4 * index, Number(BigInt.asUintN(32, addressBits)), true);
      if (!wide) continue;
      host.setUint32(4 * index + 4, Number(address >> 32n), true);
      mask.setUint32(4 * index + 4, Number(addressBits >> 32n), true);
    }
    this.reopen();
  }

  /** As the device has them. */
  get hostBytes(): Uint8Array {
    return this.#host;
  }

  /** A program that opens the device finds what the host gave them. */
  reopen(): void {
    this.#shown.set(this.#host);
  }

  read(at: number): number {
    return this.#shown[at] ?? 0;
  }

  /** As vfio_bar_fixup: the address keeps its size's multiple, so that all ones read as the size. */
  write(at: number, value: number): void {
    const mask = this.#mask[at] ?? 0;
    this.#shown[at] = (this.read(at) & ~mask) | (value & mask);
  }
}

/** Where a host's firmware would have placed them: each at a multiple of its size. */
function addressesOf(bars: Bars): Map<number, bigint> {
  const sorted = [...bars].sort(([, one], [, other]) => other.size - one.size);
  const narrow = sorted.filter(([, { io, wide }]) => io !== true && wide !== true);
  const bytes = narrow.reduce((sum, [, { size }]) => sum + size, 0);
  if (bytes > 2 ** 31) {
    throw outOfRange('options.bars', 'with at most 2 GiB in BARs that are not wide', bytes);
  }
  return new Map([
    ...placed(narrow, below4GiB - (bytes > 2 ** 29 ? 2 ** 31 : 2 ** 29)),
    ...placed(
      sorted.filter(([, { wide }]) => wide === true),
      0x40_0000_0000,
    ),
    ...placed(
      sorted.filter(([, { io }]) => io === true),
      0xc000,
    ),
  ]);
}

/** One after the other, the largest first. */
function placed(
  bars: readonly (readonly [number, FakeBarOptions])[],
  from: number,
): [number, bigint][] {
  let at = from;
  return bars.map(([index, { size }]) => {
    const address = Math.ceil(at / size) * size;
    at = address + size;
    return [index, BigInt(address)];
  });
}
