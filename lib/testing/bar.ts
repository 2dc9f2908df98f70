import type { Binding, NativeFd, NativeMemory } from '../core/binding.ts';
import { fs } from '../core/builtins.ts';
import { errnoOfSteps } from '../core/call.ts';
import type { AccessWidth, FakeBarOptions } from './bar_options.ts';

/** Bytes that a reset looks at, and clears, in one go. */
const clearedAtOnce = 0x1_0000;

/** Bytes of stat's st_blocks. */
const blockSize = 512;

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
  /** Which parts of {@link clearedAtOnce} were accessed, or cleared. */
  readonly #touched = new Set<number>();
  readonly #native: Binding;

  /** @internal */
  constructor(native: Binding, name: string, options: FakeBarOptions) {
    this.name = name;
    this.options = options;
    this.size = options.size;
    this.#native = native;
    const pages = Math.max(options.size, native.pageSize());
    this.#memory = allocate(native, pages);
    try {
      this.file = fileOf(native, this.#memory);
    } catch (error) {
      native.memoryRelease(this.#memory);
      throw error;
    }
    const buffer = native.memoryBuffer(this.#memory, 0n, BigInt(pages));
    if (typeof buffer !== 'object') {
      this.dispose();
      throw failed('memoryBuffer', buffer);
    }
    this.bytes = new Uint8Array(buffer, 0, options.size);
    this.view = new DataView(buffer, 0, options.size);
    this.#putInitial();
  }

  /** Whether it is I/O ports, not memory. @internal */
  get isPorts(): boolean {
    return this.options.io ?? false;
  }

  /** Whether programs may map it. @internal */
  get canMap(): boolean {
    const { mmap = true } = this.options;
    return mmap && !this.isPorts && this.size >= this.#native.pageSize();
  }

  /** What it held at first. @internal */
  reset(): void {
    this.#clear();
    this.#putInitial();
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
    this.#touch(offset);
    if (!read) return this.view.getBigUint64(offset, true);
    const low = this.load(offset, 4);
    return (BigInt(this.load(offset + 4, 4)) << 32n) | BigInt(low);
  }

  /** @internal */
  store64(offset: number, value: bigint): void {
    const { write64 } = this.options;
    if (write64) {
      this.#touch(offset);
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

  /** Of one that nobody got to see: its memory does not wait until the buffer is collected. @internal */
  discard(): void {
    this.#native.detachBuffer(this.view.buffer as ArrayBuffer);
    this.dispose();
  }

  #putInitial(): void {
    const { initial } = this.options;
    if (!initial) return;
    this.bytes.set(initial);
    for (let at = 0; at < initial.length; at += clearedAtOnce) this.#touch(at);
  }

  #touch(offset: number): void {
    this.#touched.add(Math.floor(offset / clearedAtOnce));
  }

  /** Zeros, where there are none: a page that nobody touched is no memory, and stays none. */
  #clear(): void {
    const length = Math.min(clearedAtOnce, this.size);
    for (const chunk of this.#touched) this.bytes.fill(0, chunk * length, (chunk + 1) * length);
    const number = this.#native.fdNumber(this.file);
    if (number === undefined || number < 0) throw failed('fdNumber', number);
    const isAll = fs.fstatSync(number).blocks * blockSize <= this.#touched.size * length;
    if (!isAll) this.#clearOthers(number, length);
  }

  /** What was touched through the buffer, or the program's. Reading the file touches nothing. */
  #clearOthers(number: number, length: number): void {
    const found = new Uint8Array(length);
    const zeros = new Uint8Array(length);
    for (let at = 0; at < this.size; at += length) {
      fs.readSync(number, found, 0, length, at);
      if (Buffer.compare(found, zeros) === 0) continue;
      this.bytes.fill(0, at, at + length);
      this.#touched.add(at / length);
    }
  }

  #get(offset: number, width: AccessWidth): number {
    this.#touch(offset);
    if (width === 1) return this.view.getUint8(offset);
    return width === 2 ? this.view.getUint16(offset, true) : this.view.getUint32(offset, true);
  }

  #set(offset: number, width: AccessWidth, value: number): void {
    this.#touch(offset);
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
  const plain = typeof answer === 'number' ? errnoOfSteps(answer) : answer;
  return new Error(`vfio/testing: ${what} of the addon answered ${String(plain)}`);
}
