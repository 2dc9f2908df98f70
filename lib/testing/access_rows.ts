import type { Binding, NativeMapping, NativePrepared } from '../core/binding.ts';
import type { FakeMapping, MappedAccess } from './mapped_access.ts';

// Words of native/mmio.h's Mailbox.
const [HANDLE, STATUS, ROWS, OFFSETS, VALUES] = [4, 5, 8, 9, 25];
const [PREPARED, FAILED_AT] = [41, 42];

const refused = 1;

/** Accesses that a program prepared. */
interface Prepared {
  mapping: NativeMapping;
  kinds: Uint8Array;
  offsets: number[];
  wide: BigUint64Array;
  narrow: Uint32Array;
}

/** Accesses of mapped memory that are made by one call: rows, batches, blocks, prepared ones. */
export class AccessRows {
  readonly #native: Binding;
  readonly #access: MappedAccess;
  readonly #mappings: ReadonlyMap<number, FakeMapping>;
  readonly #prepared = new Map<number, Prepared>();
  readonly #words: Uint32Array;
  readonly #signed: Int32Array;

  constructor(native: Binding, access: MappedAccess, mappings: ReadonlyMap<number, FakeMapping>) {
    this.#native = native;
    this.#access = access;
    this.#mappings = mappings;
    const mailbox = native.mailbox();
    this.#words = new Uint32Array(mailbox);
    this.#signed = new Int32Array(mailbox);
  }

  calls(): Partial<Binding> {
    return { ...this.#several(), ...this.#prepares() };
  }

  /** The mapping that the mailbox names. */
  get #named(): FakeMapping | undefined {
    return this.#mappings.get(this.#words[HANDLE] ?? 0);
  }

  #settle(status: number): void {
    this.#signed[STATUS] = status;
  }

  /** Several in one call. */
  #several(): Partial<Binding> {
    const native = this.#native;
    return {
      readRows32: () => {
        const mapping = this.#named;
        if (mapping) this.#settle(this.#mailRows(mapping, false));
        else native.readRows32();
      },
      writeRows32: () => {
        const mapping = this.#named;
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
}

function areWords(values: unknown): values is Uint32Array {
  return values instanceof Uint32Array;
}

function answerOf(status: number): number | undefined {
  return status === refused ? undefined : status;
}
