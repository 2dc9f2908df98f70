import {
  checkInteger,
  invalidType,
  invalidValue,
  outOfRange,
  requireBoolean,
  requireBytes,
  requireObject,
} from '../core/arguments.ts';
import { counted } from '../core/counted.ts';

/** The width of one access of a register, in bytes. */
export type AccessWidth = 1 | 2 | 4;

/** A base address register of a fake device. */
export interface FakeBarOptions {
  /** Bytes: a power of two, 16 or more of memory, 4 of ports; above 2 GiB it is `wide`. */
  size: number;
  /** Whether it is I/O ports, which cannot be mapped; memory by default. */
  io?: boolean | undefined;
  /** Whether programs may map it; true by default for memory of a page or more. */
  mmap?: boolean | undefined;
  /** Whether it is a 64-bit BAR, which takes the next one's register as well; false by default. */
  wide?: boolean | undefined;
  /** What the memory holds when the device is powered up, and after a reset; zeros by default. As long as the BAR at most. */
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

/** @throws TypeError, RangeError for what no BAR is */
export function checkBar(name: string, bar: FakeBarOptions): void {
  requireObject(name, bar);
  for (const key of ['io', 'mmap', 'wide'] as const) requireBoolean(`${name}.${key}`, bar[key]);
  for (const key of ['read', 'write', 'read64', 'write64'] as const) {
    const hook: unknown = bar[key];
    if (hook === undefined || typeof hook === 'function') continue;
    throw invalidType(`${name}.${key}`, 'a function', hook);
  }
  const { size, io = false, wide = false, initial } = bar;
  if (io && wide) throw invalidValue(`${name}.wide`, 'false of I/O ports', wide);
  // The lowest bits of the register say what it is.
  const least = io ? 4 : 16;
  const most = wide ? 2 ** 32 : 2 ** 31;
  const expected = `a power of two from ${least} to ${most}`;
  checkInteger(`${name}.size`, size, least, most, expected);
  if (!Number.isInteger(Math.log2(size))) throw outOfRange(`${name}.size`, expected, size);
  if (initial === undefined) return;
  requireBytes(`${name}.initial`, initial);
  if (initial.length <= size) return;
  throw invalidValue(
    `${name}.initial`,
    `at most as long as the BAR, ${counted(size, 'byte')}`,
    initial,
  );
}
