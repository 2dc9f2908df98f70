import assert from 'node:assert/strict';
import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import type { VfioDevice } from '../../lib/index.ts';
import { isFake } from './fake_lab.ts';

/** QEMU's edu, driven by read and write on the device's descriptor: a fake one has none, and is driven by the library. */
export class Edu {
  /** IOVAs that its DMA reaches: those of 28 bits. */
  static readonly lastIova: bigint = 2n ** 28n - 1n;
  /** QEMU 7.2 ends the whole VM when a DMA reaches the last byte of the device's 4 KiB. */
  static readonly mostBytes = 4095;

  readonly #device: VfioDevice;

  /** Lets the device do DMA: its bus mastering is off since it was opened. */
  constructor(device: VfioDevice) {
    this.#device = device;
    if (isFake) {
      device.pci.setBusMaster(true);
      return;
    }
    const command = Buffer.alloc(2);
    const at = this.#offset('config') + 4;
    readSync(device.fd, command, 0, 2, at);
    command.writeUInt16LE(command.readUInt16LE() | 0b110);
    writeSync(device.fd, command, 0, 2, at);
  }

  /** Has the device read `size` bytes of memory. Takes 100 ms. */
  async load(iova: bigint, size: number): Promise<void> {
    this.start('load', iova, size);
    await this.finish();
  }

  /** Has the device write what it read last to memory. */
  async store(iova: bigint, size: number): Promise<void> {
    this.start('store', iova, size);
    await this.finish();
  }

  start(what: 'load' | 'store', iova: bigint, size: number): void {
    assert.ok(size <= Edu.mostBytes && iova + BigInt(size) - 1n <= Edu.lastIova);
    const own = 0x40000n;
    const [from, to] = what === 'load' ? [iova, own] : [own, iova];
    this.#write64(0x80, from);
    this.#write64(0x88, to);
    this.#write64(0x90, BigInt(size));
    this.#write64(0x98, what === 'load' ? 1n : 3n);
  }

  async finish(): Promise<void> {
    while ((this.#read64(0x98) & 1n) !== 0n) await setTimeout(5);
  }

  #read64(register: number): bigint {
    if (isFake) return this.#device.region('bar0').read64(register);
    const bytes = Buffer.alloc(8);
    readSync(this.#device.fd, bytes, 0, 8, this.#offset('bar0') + register);
    return bytes.readBigUInt64LE();
  }

  #write64(register: number, value: bigint): void {
    if (isFake) {
      this.#device.region('bar0').write64(register, value);
      return;
    }
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(value);
    assert.equal(writeSync(this.#device.fd, bytes, 0, 8, this.#offset('bar0') + register), 8);
  }

  #offset(name: string): number {
    const region = this.#device.info.regions.find((each) => each.name === name);
    assert.ok(region, `no region ${name}`);
    return Number(region.offset);
  }
}

/** The kernel's log, from where it is opened on. */
export class KernelLog {
  readonly #fd = openSync('/dev/kmsg', constants.O_RDONLY | constants.O_NONBLOCK);

  constructor() {
    this.read();
  }

  /** The messages since the last call. */
  read(): string[] {
    const lines: string[] = [];
    const record = Buffer.alloc(8192);
    for (;;) {
      try {
        const length = readSync(this.#fd, record);
        lines.push(
          record
            .toString('utf8', 0, length)
            .replace(/^[^;]*;/, '')
            .split('\n')[0] ?? '',
        );
      } catch (error) {
        if ((error as { code?: string }).code === 'EAGAIN') return lines;
        throw error;
      }
    }
  }

  /** Waits until there is such a message; answers all of that kind since the last call. */
  async wait(isWanted: (line: string) => boolean): Promise<string[]> {
    for (;;) {
      const found = this.read().filter(isWanted);
      if (found.length > 0) return found;
      await setTimeout(5);
    }
  }

  close(): void {
    closeSync(this.#fd);
  }
}
