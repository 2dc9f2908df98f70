import type { Binding, NativeMemory } from '../core/binding.ts';
import { EFAULT } from './errno.ts';

/** Memory that a program mapped for devices. */
export interface DmaPages {
  /** Whether they were first mapped to be written to: a copy of the map may not do more. */
  writable: boolean;
  /** 0, or what the kernel answers where it has to pin the pages: -errno. */
  readonly pinError: number;
  read(offset: number, target: Uint8Array): void;
  write(offset: number, bytes: Uint8Array): void;
  /** A part, which keeps the whole. */
  from(offset: bigint): DmaPages;
}

/** Pages that the addon has: they stay as long as this, as the kernel's pins do. */
export class BufferPages implements DmaPages {
  readonly pinError = 0;
  writable = true;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Of the addon's memory; -errno where it has no such part. */
  static of(
    native: Binding,
    memory: NativeMemory,
    offset: bigint,
    length: bigint,
  ): BufferPages | number {
    const buffer = native.memoryBuffer(memory, offset, length);
    if (typeof buffer === 'object') return new BufferPages(new Uint8Array(buffer));
    return buffer ?? EFAULT;
  }

  read(offset: number, target: Uint8Array): void {
    target.set(this.#bytes.subarray(offset, offset + target.length));
  }

  write(offset: number, bytes: Uint8Array): void {
    this.#bytes.set(bytes, offset);
  }

  from(offset: bigint): BufferPages {
    const pages = new BufferPages(this.#bytes.subarray(Number(offset)));
    pages.writable = this.writable;
    return pages;
  }
}

/**
 * Memory that the program named by its address: read and written through /proc/self/mem, which
 * refuses what is not mapped, as the kernel does that has to pin it.
 */
export class AddressPages implements DmaPages {
  writable = true;
  readonly #address: bigint;
  readonly #length: bigint;

  constructor(address: bigint, length: bigint) {
    this.#address = address;
    this.#length = length;
  }

  get pinError(): number {
    const byte = new Uint8Array(1);
    const ends = [this.#address, this.#address + this.#length - 1n];
    return ends.every((at) => this.#tryRead(at, byte)) ? 0 : EFAULT;
  }

  read(offset: number, target: Uint8Array): void {
    if (!this.#tryRead(this.#address + BigInt(offset), target)) target.fill(0xff);
  }

  write(offset: number, bytes: Uint8Array): void {
    const fs = process.getBuiltinModule('node:fs');
    const fd = fs.openSync('/proc/self/mem', 'r+');
    try {
      // Node's types know a position of 64 bits for reads only; writev takes none either.
      fs.writeSync(fd, bytes, 0, bytes.length, Number(this.#address + BigInt(offset)));
    } finally {
      fs.closeSync(fd);
    }
  }

  from(offset: bigint): AddressPages {
    const pages = new AddressPages(this.#address + offset, this.#length - offset);
    pages.writable = this.writable;
    return pages;
  }

  #tryRead(address: bigint, target: Uint8Array): boolean {
    const fs = process.getBuiltinModule('node:fs');
    const fd = fs.openSync('/proc/self/mem', 'r');
    try {
      return fs.readSync(fd, target, 0, target.length, address) === target.length;
    } catch {
      // EIO: nothing is mapped there.
      return false;
    } finally {
      fs.closeSync(fd);
    }
  }
}
