import type { Binding, NativeFd } from '../core/binding.ts';
import { closeErrnos, failedStep, type SteppedName } from '../core/call.ts';
import { describeErrno, noThread, ofKvm } from '../core/errors.ts';
import { irqNames, regionNames } from '../info/decode.ts';

/** A region of a device, to say which one a transfer reaches. */
interface KnownRegion {
  name: string;
  offset: bigint;
  size: bigint;
}

interface KnownDevice {
  flags: readonly string[];
  /** By their names. */
  regions: Map<string, KnownRegion>;
}

/**
 * What the arguments of the addon's functions stand for: descriptors by their numbers, and of each
 * device what the kernel said of it while this looked on.
 */
export class TraceWords {
  readonly #native: Pick<Binding, 'fdNumber'>;
  readonly #devices = new Map<NativeFd, KnownDevice>();
  readonly #eventfds = new Map<NativeFd, string>();

  constructor(native: Pick<Binding, 'fdNumber'>) {
    this.#native = native;
  }

  /** `fd 21`: the number that strace shows too. */
  fd(handle: NativeFd | 0 | undefined): string {
    if (handle === 0 || handle === undefined) return 'none';
    const number = this.#native.fdNumber(handle);
    return number !== undefined && number >= 0 ? `fd ${number}` : 'a closed fd';
  }

  fds(handles: Uint32Array): string {
    return list(Array.from(handles, (handle) => this.fd(handle as NativeFd)));
  }

  /** The flags of VFIO_DEVICE_GET_INFO, which say how its regions and interrupts are called. */
  noteDevice(device: NativeFd, flags: readonly string[]): void {
    this.#devices.set(device, { flags, regions: new Map() });
  }

  noteRegion(device: NativeFd, region: KnownRegion): void {
    this.#devices.get(device)?.regions.set(region.name, region);
  }

  /** What an eventfd signals. */
  noteEventfd(event: NativeFd, name: string): void {
    this.#eventfds.set(event, name);
  }

  eventfdName(event: NativeFd): string {
    return this.#eventfds.get(event) ?? 'an eventfd';
  }

  forget(fd: NativeFd): void {
    this.#devices.delete(fd);
    this.#eventfds.delete(fd);
  }

  regionName(device: NativeFd, index: number): string {
    const flags = this.#devices.get(device)?.flags ?? [];
    return regionNames(flags)[index] ?? `region ${index}`;
  }

  irqName(device: NativeFd, index: number): string {
    const flags = this.#devices.get(device)?.flags ?? [];
    return irqNames(flags)[index] ?? `irq ${index}`;
  }

  /** `config+0x4`; where no region of the device is known there, the offset in its descriptor. */
  place(device: NativeFd, start: bigint, offset: number | bigint): string {
    const regions = this.#devices.get(device)?.regions.values() ?? [];
    const region = [...regions].find((each) => start === each.offset && each.size > 0n);
    return `${region?.name ?? hex(start)}+${hex(offset)}`;
  }
}

/** The kernel's 64 bits, of which the addon gets two halves. */
export function joined(high: number, low: number): bigint {
  return (BigInt(high) << 32n) | BigInt(low);
}

/** `0x1000` */
export function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}

/** `PCI|RESET`, and of none `0`. */
export function flagWords(flags: readonly string[]): string {
  return flags.length === 0 ? '0' : flags.map((flag) => wordOf(flag)).join('|');
}

/** Bits that have no name are `0x…` already. */
function wordOf(flag: string): string {
  return flag.startsWith('0x') ? flag : flag.toUpperCase().replaceAll('-', '_');
}

/** The names of the bits that are set, by their numbers; other bits as `0x…`. */
export function bitWords(bits: number, names: Readonly<Record<string, number>>): string {
  const set = Object.entries(names).filter(([, bit]) => (bits & bit) !== 0);
  const rest = set.reduce((left, [, bit]) => left & ~bit, bits) >>> 0;
  return flagWords([...set.map(([name]) => name), ...(rest === 0 ? [] : [hex(rest)])]);
}

/** `{flags: PCI, num_regions: 9}` */
export function struct(fields: Readonly<Record<string, string | number>>): string {
  const each = Object.entries(fields).map(([name, value]) => `${name}: ${value}`);
  return `{${each.join(', ')}}`;
}

const mostListed = 8;

/** `[1, 2, … 30 more]` */
export function list(items: readonly string[], most: number = mostListed): string {
  const shown = items.slice(0, most);
  const left = items.length - shown.length;
  return `[${[...shown, ...(left > 0 ? [`… ${left} more`] : [])].join(', ')}]`;
}

const mostBytes = 16;

/** The first of some bytes, as they lie in memory. */
export function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): string {
  const shown = Buffer.from(buffer, byteOffset, Math.min(byteLength, mostBytes)).toString('hex');
  return byteLength > mostBytes ? `${shown}… (${byteLength} bytes)` : shown;
}

/**
 * A text of others in quotes, which it cannot end by itself. What a terminal would obey is escaped
 * where the line is written: the backslash of that stands alone, one of the text's own is doubled.
 */
export function quoted(text: string): string {
  return `"${text.replace(/["\\]/g, '\\$&')}"`;
}

/** What a call that failed answered: `EBUSY (resource busy or locked)`. */
export function errnoWords(errno: number): string {
  if (errno <= noThread) return meant(errno - noThread, ', no thread: the call was not made');
  return meant(errno);
}

/** The same of a function that makes several system calls: which of them it was. */
export function stepWords(name: SteppedName): (answer: number) => string {
  return (answer) => {
    if (answer <= noThread) return errnoWords(answer);
    const { errno, syscall } = failedStep(answer, name);
    return meant(errno, `, of ${syscall}`);
  };
}

/** The same of `bind`, before which KVM may be told of the device. */
export function bindWords(answer: number): string {
  if (answer <= noThread || answer >= ofKvm) return errnoWords(answer);
  return meant(answer - ofKvm, ', of KVM: the device was not bound');
}

/** The same of `close`, where one of two descriptors, or both, did not close well. */
export function closeWords(answer: number): string {
  const [first, second] = closeErrnos(answer);
  if (second === 0) return meant(first);
  return `${first === 0 ? '0' : meant(first)}, then ${meant(second)}`;
}

function meant(errno: number, more = ''): string {
  const [code, text] = describeErrno(errno);
  return `${code} (${text}${more})`;
}

/** `1.4 µs`, `12 µs`, `103 ms`, `2.5 s` */
export function timeWords(milliseconds: number): string {
  if (milliseconds < 0.9995) return `${rounded(milliseconds * 1000)} µs`;
  return milliseconds < 999.5 ? `${rounded(milliseconds)} ms` : `${rounded(milliseconds / 1000)} s`;
}

function rounded(value: number): string {
  return value < 9.95 ? value.toFixed(1) : value.toFixed(0);
}
