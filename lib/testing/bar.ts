import type { Binding, NativeFd, NativeMemory } from '../core/binding.ts';

/** The width of one access of a register, in bytes. */
export type AccessWidth = 1 | 2 | 4;

/** A base address register of a fake device. */
export interface FakeBarOptions {
  /** Bytes: a power of two. */
  size: number;
  /** Whether it is I/O ports, which cannot be mapped; memory by default. */
  io?: boolean | undefined;
  /** Whether programs may map it; true by default for memory of a page or more. */
  mmap?: boolean | undefined;
  /** Whether it is a 64-bit BAR, which takes the next one's register as well; false by default. */
  wide?: boolean | undefined;
  /** What the memory holds when the device is powered up, and after a reset; zeros by default. */
  initial?: Uint8Array | undefined;
  /**
   * Answers a read: the register's value, or undefined for what the memory holds. An access of 64
   * bits is two of 32, the low half first, unless there is {@link read64}.
   */
  read?: ((offset: number, width: AccessWidth) => number | undefined) | undefined;
  /** Is told of a write, when the memory has its value already. 64 bits are as in {@link read}. */
  write?: ((offset: number, value: number, width: AccessWidth) => void) | undefined;
  /** Answers a read of 64 bits. */
  read64?: ((offset: number) => bigint | undefined) | undefined;
  /** Is told of a write of 64 bits. */
  write64?: ((offset: number, value: bigint) => void) | undefined;
}

/** A BAR of a fake device, as the device sees it: nothing here calls a hook. */
export class FakeBar {
  /** `bar0` … `bar5`. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** What it holds. Programs that map the BAR have the same memory. */
  readonly bytes: Uint8Array;
  /** The same, for numbers; PCI is little-endian. */
  readonly view: DataView;
  /** @internal */
  readonly options: FakeBarOptions;
  /** Whose descriptor programs map. @internal */
  readonly file: NativeFd;
  readonly #memory: NativeMemory;
  readonly #native: Binding;

  /** @internal */
  constructor(native: Binding, name: string, options: FakeBarOptions) {
    this.name = name;
    this.options = options;
    this.size = options.size;
    this.#native = native;
    const pages = Math.max(options.size, native.pageSize());
    this.#memory = allocate(native, pages);
    this.file = fileOf(native, this.#memory);
    const buffer = native.memoryBuffer(this.#memory, 0n, BigInt(pages));
    if (typeof buffer !== 'object') throw failed('memoryBuffer', buffer);
    this.bytes = new Uint8Array(buffer, 0, options.size);
    this.view = new DataView(buffer, 0, options.size);
    this.reset();
  }

  /** Whether programs may map it. @internal */
  get canMap(): boolean {
    const { io = false, mmap = true } = this.options;
    return mmap && !io && this.size >= this.#native.pageSize();
  }

  /** What it held at first. @internal */
  reset(): void {
    this.bytes.fill(0);
    const { initial } = this.options;
    if (initial) this.bytes.set(initial.subarray(0, this.size));
  }

  /** One access of up to 32 bits, by a program. @internal */
  load(offset: number, width: AccessWidth): number {
    const told = this.options.read?.(offset, width);
    return told === undefined ? this.#get(offset, width) : told >>> 0;
  }

  /** @internal */
  store(offset: number, width: AccessWidth, value: number): void {
    this.#set(offset, width, value);
    this.options.write?.(offset, value, width);
  }

  /** @internal */
  load64(offset: number): bigint {
    const { read, read64 } = this.options;
    const told = read64?.(offset);
    if (told !== undefined) return BigInt.asUintN(64, told);
    if (!read) return this.view.getBigUint64(offset, true);
    const low = this.load(offset, 4);
    return (BigInt(this.load(offset + 4, 4)) << 32n) | BigInt(low);
  }

  /** @internal */
  store64(offset: number, value: bigint): void {
    const { write64 } = this.options;
    if (write64) {
      this.view.setBigUint64(offset, value, true);
      write64(offset, value);
      return;
    }
    this.store(offset, 4, Number(BigInt.asUintN(32, value)));
    this.store(offset + 4, 4, Number(value >> 32n));
  }

  /** The memory stays while somebody has it mapped. @internal */
  dispose(): void {
    this.#native.closeSync(this.file);
    this.#native.memoryRelease(this.#memory);
  }

  #get(offset: number, width: AccessWidth): number {
    if (width === 1) return this.view.getUint8(offset);
    return width === 2 ? this.view.getUint16(offset, true) : this.view.getUint32(offset, true);
  }

  #set(offset: number, width: AccessWidth, value: number): void {
    if (width === 1) this.view.setUint8(offset, value);
    else if (width === 2) this.view.setUint16(offset, value, true);
    else this.view.setUint32(offset, value, true);
  }
}

/** Memory of the addon's. */
export function allocate(native: Binding, bytes: number): NativeMemory {
  const memory = native.memoryAllocateSync(BigInt(bytes), 0, 0);
  if (memory === undefined || memory < 0) throw failed('memoryAllocate', memory);
  return memory as NativeMemory;
}

/** Another descriptor of the memory's file. */
export function fileOf(native: Binding, memory: NativeMemory): NativeFd {
  const number = native.memoryFile(memory);
  const fd = number === undefined || number < 0 ? number : native.dup(number);
  if (fd === undefined || fd < 0) throw failed('dup', fd);
  return fd as NativeFd;
}

export function failed(what: string, answer: unknown): Error {
  return new Error(`vfio/testing: ${what} of the addon answered ${String(answer)}`);
}
