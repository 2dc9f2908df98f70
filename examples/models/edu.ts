/**
 * A model of QEMU's edu, for tests without it (QEMU, docs/specs/edu.rst): what a driver's author
 * would write over `vfio/testing`. The transfers of its DMA engine end at once.
 */
import { DmaFault, type FakeDeviceOptions, type FakeHost } from 'vfio/testing';

type Host = Pick<FakeHost, 'addDevice'>;
type Device = ReturnType<Host['addDevice']>;

const bufferAt = 0x40000;
const bufferBytes = 4096;
/** IOVAs of so many bits reach the device's bus. */
const iovaMask = 2n ** 28n - 1n;

export class EduModel {
  readonly device: Device;
  readonly #buffer = new Uint8Array(bufferBytes);
  #liveness = 0;
  #factorial = 0;
  #raisesAfterFactorial = false;
  #pending = 0;
  #dma = { source: 0n, target: 0n, count: 0n, command: 0n };

  constructor(host: Host, options: FakeDeviceOptions = {}) {
    this.device = host.addDevice({
      vendor: 0x1234,
      device: 0x11e8,
      classCode: 0x00ff00,
      revision: 0x10,
      msi: 1,
      reset: false,
      express: false,
      power: false,
      bars: {
        bar0: {
          size: 0x10_0000,
          read64: (offset) => (offset < 0x80 ? 2n ** 64n - 1n : undefined),
          // Below 0x80 it takes accesses of 32 bits alone.
          read: (offset, width) => (width === 4 || offset >= 0x80 ? this.#read(offset) : 0),
          write: (offset, value, width) => {
            if (width === 4 || offset >= 0x80) this.#write(offset, value);
          },
        },
      },
      ...options,
    });
  }

  #read(offset: number): number | undefined {
    if (offset === 0x00) return 0x010000ed;
    if (offset === 0x04) return ~this.#liveness;
    if (offset === 0x08) return this.#factorial;
    if (offset === 0x20) return this.#raisesAfterFactorial ? 0x80 : 0;
    if (offset === 0x24) return this.#pending;
    // Its engine is never seen at work.
    if (offset === 0x98) return Number(this.#dma.command) & ~1;
    return offset < 0x80 ? 0xffff_ffff : undefined;
  }

  #write(offset: number, value: number): void {
    if (offset === 0x04) this.#liveness = value;
    if (offset === 0x08) this.#setFactorial(value);
    if (offset === 0x20) this.#raisesAfterFactorial = (value & 0x80) !== 0;
    if (offset === 0x60) this.#raise(value);
    if (offset === 0x64) this.#acknowledge(value);
    if (offset >= 0x80 && offset < 0xa0) this.#setDma(offset, value);
  }

  #setFactorial(value: number): void {
    this.#factorial = 1;
    for (let factor = value; factor > 1; factor--) {
      this.#factorial = Math.imul(this.#factorial, factor) >>> 0;
    }
    if (this.#raisesAfterFactorial) this.#raise(1);
  }

  #raise(bits: number): void {
    this.#pending |= bits;
    if (this.#pending === 0) return;
    if (this.device.enabledVectors('msi') > 0) this.device.interrupt('msi');
    else this.device.assertIntx(true);
  }

  #acknowledge(bits: number): void {
    this.#pending &= ~bits;
    if (this.#pending === 0) this.device.assertIntx(false);
  }

  /** Registers of 64 bits; a driver may write their halves. */
  #setDma(offset: number, value: number): void {
    const names = ['source', 'target', 'count', 'command'] as const;
    const name = names[(offset - 0x80) >> 3] ?? 'command';
    const isHigh = (offset & 4) !== 0;
    const kept = this.#dma[name] & (isHigh ? 0xffff_ffffn : 0xffff_ffff_0000_0000n);
    this.#dma[name] = kept | (BigInt(value) << (isHigh ? 32n : 0n));
    if (name === 'command' && !isHigh && (value & 1) !== 0) this.#transfer();
  }

  #transfer(): void {
    const { source, target, count, command } = this.#dma;
    const [own, iova] = (command & 2n) !== 0n ? [source, target] : [target, source];
    const at = Number(own) - bufferAt;
    const part = this.#buffer.subarray(at, at + Number(count));
    try {
      if ((command & 2n) !== 0n) this.device.writeMemory(iova & iovaMask, part);
      else part.set(this.device.readMemory(iova & iovaMask, part.length));
    } catch (error) {
      // The device hears nothing of it, and a driver neither.
      if (!(error instanceof DmaFault)) throw error;
    }
    this.#dma.command &= ~1n;
    if ((command & 4n) !== 0n) this.#raise(0x100);
  }
}
