import type { Binding, NativeMapping, NativePrepared } from '../core/binding.ts';
import { ECANCELED, EINVAL, EIO, ETIMEDOUT } from '../core/errno.ts';
import type { Fakes } from './calls.ts';
import type { Machine } from './machine.ts';
import { type FakeMapping, MappedAccess, withFaults } from './mapped_access.ts';
import { readRegion, regionIndexOf, writeRegion } from './region_access.ts';

// Words of native/mmio.h's Mailbox.
const [HANDLE, STATUS, START_HIGH, ROWS, OFFSETS, VALUES] = [4, 5, 6, 8, 9, 25];
const [PREPARED, FAILED_AT] = [41, 42];

const refused = 1;
const short = 2;

/** Accesses that a program prepared. */
interface Prepared {
  mapping: NativeMapping;
  kinds: Uint8Array;
  offsets: number[];
  wide: BigUint64Array;
  narrow: Uint32Array;
}

/** Accesses of regions: by the kernel, and of what is mapped. */
export class AccessCalls {
  readonly #machine: Machine;
  readonly #native: Binding;
  readonly #access: MappedAccess;
  readonly #mappings = new Map<number, FakeMapping>();
  readonly #prepared = new Map<number, Prepared>();
  readonly #words: Uint32Array;
  readonly #signed: Int32Array;
  readonly #offset: Float64Array;
  readonly #wide: BigUint64Array;

  constructor(machine: Machine) {
    this.#machine = machine;
    this.#native = machine.native;
    this.#access = new MappedAccess(machine);
    const mailbox = this.#native.mailbox();
    this.#words = new Uint32Array(mailbox);
    this.#signed = new Int32Array(mailbox);
    this.#offset = new Float64Array(mailbox, 0, 1);
    this.#wide = new BigUint64Array(mailbox, 8, 1);
  }

  /** Those whose first argument is a descriptor. */
  ofDescriptors(): Fakes {
    return {
      pread: (handle, high, _low, offset, bytes) => {
        const device = this.#machine.bound(handle);
        if (device === undefined) return EINVAL;
        return withFaults(bytes.length, () =>
          readRegion(device, regionIndexOf(high), offset, bytes),
        );
      },
      pwriteSync: (handle, high, _low, offset, bytes) => {
        const device = this.#machine.bound(handle);
        if (device === undefined) return EINVAL;
        return withFaults(bytes.length, () =>
          writeRegion(device, regionIndexOf(high), offset, bytes),
        );
      },
      map: (handle, high, _low, offset, size, start, end) =>
        this.#map(handle, regionIndexOf(high), { offset, size }, { start, end }),
    };
  }

  /** All the others. */
  others(): Partial<Binding> {
    return {
      ...this.#ofMailbox(),
      ...this.#rows(),
      ...this.#prepares(),
      unmap: async (mapping) => {
        const answer = await this.#native.unmap(mapping);
        return this.#unmapped(mapping, answer) ?? EINVAL;
      },
      unmapSync: (mapping) => this.#unmapped(mapping, this.#native.unmapSync(mapping)),
      poll32: (...args) => this.#poll(...args) ?? this.#native.poll32(...args),
      poll32Sync: (...args) => this.#pollSync(...args) ?? this.#native.poll32Sync(...args),
    };
  }

  /** The mapping that the mailbox names. */
  get mapping(): FakeMapping | undefined {
    return this.#mappings.get(this.#words[HANDLE] ?? 0);
  }

  #map(
    handle: number,
    index: number,
    { offset, size }: { offset: number; size: number },
    readOnly: FakeMapping['readOnly'],
  ): number {
    const device = this.#machine.bound(handle);
    const file = this.#machine.files.get(handle);
    const bar = device?.bars.get(index);
    if (!device || !file || !bar?.canMap || offset + size > bar.size) return EINVAL;
    // The mapping is a real one, of the memory that is behind the BAR.
    const { start, end } = readOnly;
    const answer = this.#native.map(bar.file, 0, 0, offset, size, start, end);
    if (answer === undefined || answer < 0) return answer ?? EINVAL;
    this.#mappings.set(answer, { device, bar, offset, size, readOnly, file });
    this.#machine.files.keep(file);
    return answer;
  }

  #unmapped<T>(mapping: NativeMapping, answer: T): T {
    const found = this.#mappings.get(mapping);
    if (found && answer === (0 as T)) {
      this.#mappings.delete(mapping);
      this.#machine.files.release(found.file);
    }
    return answer;
  }

  /** Single accesses, of mappings and of regions. */
  #ofMailbox(): Partial<Binding> {
    const all: Partial<Record<string, () => void>> = {};
    for (const bits of [8, 16, 32, 64] as const) {
      const width = bits / 8;
      const native = this.#native;
      all[`read${bits}`] = () => {
        const { mapping } = this;
        if (mapping) this.#read(mapping, width);
        else native[`read${bits}`]();
      };
      all[`write${bits}`] = () => {
        const { mapping } = this;
        if (mapping) this.#write(mapping, width);
        else native[`write${bits}`]();
      };
      all[`pread${bits}`] = () => {
        if (!this.#transfer('pread', width)) native[`pread${bits}`]();
      };
      all[`pwrite${bits}`] = () => {
        if (!this.#transfer('pwrite', width)) native[`pwrite${bits}`]();
      };
    }
    return all;
  }

  #read(mapping: FakeMapping, width: number): void {
    // A hook may make accesses itself, which go through the same mailbox.
    const value = this.#access.load(mapping, this.#offset[0] ?? NaN, width);
    this.#settle(typeof value === 'bigint' ? 0 : value);
    if (typeof value === 'bigint') this.#wide[0] = BigInt.asUintN(8 * width, value);
  }

  #write(mapping: FakeMapping, width: number): void {
    const value = BigInt.asUintN(8 * width, this.#wide[0] ?? 0n);
    this.#settle(this.#access.store(mapping, this.#offset[0] ?? NaN, width, value));
  }

  #settle(status: number): void {
    this.#signed[STATUS] = status;
  }

  /** Whether it was a register of a fake device. */
  #transfer(call: 'pread' | 'pwrite', width: number): boolean {
    const handle = this.#words[HANDLE] ?? 0;
    if (this.#machine.files.get(handle) === undefined) return false;
    const high = this.#words[START_HIGH] ?? 0;
    const offset = this.#offset[0] ?? 0;
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, this.#wide[0] ?? 0n, true);
    const part = bytes.subarray(0, width);
    const count =
      this.#machine.injected(call, handle)?.answer ?? this.#plain(call, high, offset, part);
    this.#settle(count === width ? 0 : count < 0 ? count : short + count);
    if (call === 'pread') {
      bytes.fill(0, width);
      this.#wide[0] = new DataView(bytes.buffer).getBigUint64(0, true);
    }
    return true;
  }

  #plain(call: 'pread' | 'pwrite', high: number, offset: number, bytes: Uint8Array): number {
    const device = this.#machine.bound(this.#words[HANDLE]);
    if (device === undefined) return EINVAL;
    const act = call === 'pread' ? readRegion : writeRegion;
    return withFaults(bytes.length, () => act(device, regionIndexOf(high), offset, bytes));
  }

  /** Several in one call. */
  #rows(): Partial<Binding> {
    const native = this.#native;
    return {
      readRows32: () => {
        const { mapping } = this;
        if (mapping) this.#settle(this.#mailRows(mapping, false));
        else native.readRows32();
      },
      writeRows32: () => {
        const { mapping } = this;
        if (mapping) this.#settle(this.#mailRows(mapping, true));
        else native.writeRows32();
      },
      readBatch32: (handle, offsets, values) => {
        const mapping = this.#mappings.get(handle);
        if (!mapping) return native.readBatch32(handle, offsets, values);
        return answerOf(this.#row(mapping, false, offsets, values));
      },
      writeBatch32: (handle, offsets, values) => {
        const mapping = this.#mappings.get(handle);
        if (!mapping) return native.writeBatch32(handle, offsets, values);
        return answerOf(this.#row(mapping, true, offsets, values));
      },
      readBlock: (handle, offset, values) =>
        this.#block(handle, false, offset, values) ?? native.readBlock(handle, offset, values),
      writeBlock: (handle, offset, values) =>
        this.#block(handle, true, offset, values) ?? native.writeBlock(handle, offset, values),
    };
  }

  #mailRows(mapping: FakeMapping, write: boolean): number {
    const count = this.#words[ROWS] ?? 0;
    const offsets = this.#words.slice(OFFSETS, OFFSETS + count);
    return this.#row(mapping, write, offsets, this.#words.subarray(VALUES, VALUES + count));
  }

  /** All places are looked at before the first access. */
  #row(mapping: FakeMapping, write: boolean, offsets: Uint32Array, values: Uint32Array): number {
    if (!areWords(offsets) || !areWords(values) || values.length < offsets.length) return refused;
    const { start, end } = mapping.readOnly;
    for (const offset of offsets) {
      if (offset + 4 > mapping.size || (mapping.offset + offset) % 4 !== 0) return refused;
      if (write && offset < end && offset + 4 > start) return refused;
    }
    for (const [at, offset] of offsets.entries()) {
      const status = write
        ? this.#access.store(mapping, offset, 4, BigInt(values[at] ?? 0))
        : this.#loadInto(mapping, offset, values, at);
      if (status !== 0) return status;
    }
    return 0;
  }

  #loadInto(mapping: FakeMapping, offset: number, values: Uint32Array, at: number): number {
    const value = this.#access.load(mapping, offset, 4);
    if (typeof value !== 'bigint') return value;
    values[at] = Number(value & 0xffff_ffffn);
    return 0;
  }

  /** What the addon finds wrong with its arguments it answers. */
  #block(
    handle: NativeMapping,
    write: boolean,
    offset: number,
    values: ArrayBufferView,
  ): number | undefined {
    const mapping = this.#mappings.get(handle);
    if (!mapping || !ArrayBuffer.isView(values) || !('BYTES_PER_ELEMENT' in values)) {
      return undefined;
    }
    const width = values.BYTES_PER_ELEMENT as number;
    const list = values as unknown as (number | bigint)[];
    const { start, end } = mapping.readOnly;
    const last = offset + values.byteLength;
    const isFit = last <= mapping.size && (mapping.offset + offset) % width === 0;
    if (!isFit || (write && offset < end && last > start)) return undefined;
    for (let at = 0; at < list.length; at++) {
      const place = offset + at * width;
      if (write) {
        const status = this.#access.store(mapping, place, width, BigInt(list[at] ?? 0));
        if (status !== 0) return status;
        continue;
      }
      const value = this.#access.load(mapping, place, width);
      if (typeof value !== 'bigint') return value;
      const own = BigInt.asUintN(8 * width, value);
      list[at] = width === 8 ? own : Number(own);
    }
    return 0;
  }

  #prepares(): Partial<Binding> {
    const native = this.#native;
    return {
      prepare: (mapping, kinds, offsets) => {
        const answer = native.prepare(mapping, kinds, offsets);
        if (this.#mappings.has(mapping) && answer !== undefined && answer >= 0) {
          this.#prepare(answer as NativePrepared, mapping, kinds, offsets);
        }
        return answer;
      },
      preparedRelease: (prepared) => {
        this.#prepared.delete(prepared);
        return native.preparedRelease(prepared);
      },
      runPrepared: () => {
        const prepared = this.#prepared.get(this.#words[PREPARED] ?? 0);
        if (prepared) this.#settle(this.#run(prepared));
        else native.runPrepared();
      },
      ringAndPoll: () => {
        const prepared = this.#prepared.get(this.#words[PREPARED] ?? 0);
        if (!prepared) {
          native.ringAndPoll();
          return;
        }
        const before = this.#words.slice();
        const status = this.#run(prepared);
        // What hooks did by the mailbox is theirs; the poll is the caller's.
        const failedAt = this.#words[FAILED_AT] ?? 0;
        this.#words.set(before);
        this.#words[FAILED_AT] = failedAt;
        if (status === 0) native.pollMemory();
        else this.#settle(status);
      },
    };
  }

  #prepare(
    handle: NativePrepared,
    mapping: NativeMapping,
    kinds: Uint8Array,
    offsets: BigUint64Array,
  ): void {
    const values = this.#native.preparedValues(handle);
    if (typeof values !== 'object') return;
    const { length } = kinds;
    this.#prepared.set(handle, {
      mapping,
      kinds: kinds.slice(),
      offsets: [...offsets].map(Number),
      wide: new BigUint64Array(values, 0, length),
      narrow: new Uint32Array(values, 8 * length, length),
    });
  }

  #run({ mapping: handle, kinds, offsets, wide, narrow }: Prepared): number {
    const mapping = this.#mappings.get(handle);
    if (mapping === undefined) return refused;
    for (const [at, kind] of kinds.entries()) {
      const width = 1 << (kind & 3);
      const offset = offsets[at] ?? 0;
      const isWrite = (kind & 4) !== 0;
      const given = width === 8 ? (wide[at] ?? 0n) : BigInt(narrow[at] ?? 0);
      const result = isWrite
        ? this.#access.store(mapping, offset, width, BigInt.asUintN(8 * width, given))
        : this.#access.load(mapping, offset, width);
      if (typeof result === 'bigint') {
        if (width === 8) wide[at] = result;
        else narrow[at] = Number(BigInt.asUintN(8 * width, result));
      } else if (result !== 0) {
        this.#words[FAILED_AT] = at;
        return result;
      }
    }
    return 0;
  }

  /** Looks again when the event loop has turned, so that a model may go on meanwhile. */
  #poll(
    handle: NativeMapping,
    ...[offset, mask, value, time]: [number, number, number, number]
  ): Promise<number> | undefined {
    if (!this.#mappings.has(handle)) return undefined;
    return this.#pollUntil(handle, offset, mask, value, performance.now() + time);
  }

  async #pollUntil(
    handle: NativeMapping,
    offset: number,
    mask: number,
    value: number,
    deadline: number,
  ): Promise<number> {
    for (;;) {
      const mapping = this.#mappings.get(handle);
      if (mapping === undefined) return ECANCELED;
      const found = this.#look(mapping, offset, mask, value);
      if (found !== undefined) return found;
      if (performance.now() >= deadline) return ETIMEDOUT;
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
    }
  }

  /** Only what a hook does changes what it finds. */
  #pollSync(
    handle: NativeMapping,
    ...[offset, mask, value, time]: [number, number, number, number]
  ): number | undefined {
    const mapping = this.#mappings.get(handle);
    if (mapping === undefined) return undefined;
    const deadline = performance.now() + time;
    for (;;) {
      const found = this.#look(mapping, offset, mask, value);
      if (found !== undefined) return found;
      if (performance.now() >= deadline) return ETIMEDOUT;
    }
  }

  /** The register, or -errno; undefined where it has another value. */
  #look(mapping: FakeMapping, offset: number, mask: number, value: number): number | undefined {
    const found = this.#access.load(mapping, offset, 4);
    if (typeof found !== 'bigint') return found === refused ? EIO : found;
    const word = Number(found & 0xffff_ffffn);
    return (word & mask) >>> 0 === value ? word : undefined;
  }
}

function areWords(values: unknown): values is Uint32Array {
  return values instanceof Uint32Array;
}

function answerOf(status: number): number | undefined {
  return status === refused ? undefined : status;
}
