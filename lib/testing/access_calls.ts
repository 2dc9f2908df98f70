import type { Binding, NativeMapping } from '../core/binding.ts';
import { ECANCELED, EINVAL, EIO, ETIMEDOUT } from '../core/errno.ts';
import { AccessRows } from './access_rows.ts';
import type { Fakes } from './calls.ts';
import type { Machine } from './machine.ts';
import { type FakeMapping, MappedAccess, withFaults } from './mapped_access.ts';
import { readRegion, regionIndexOf, writeRegion } from './region_access.ts';

// Words of native/mmio.h's Mailbox.
const [HANDLE, STATUS, START_HIGH] = [4, 5, 6];

const refused = 1;
const short = 2;

/** Accesses of regions: by the kernel, and of what is mapped. */
export class AccessCalls {
  readonly #machine: Machine;
  readonly #native: Binding;
  readonly #access: MappedAccess;
  readonly #mappings = new Map<number, FakeMapping>();
  readonly #rows: AccessRows;
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
    this.#rows = new AccessRows(this.#native, this.#access, this.#mappings);
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
      ...this.#rows.calls(),
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
