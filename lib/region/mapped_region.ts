import {
  checkSignal,
  checkTimeout,
  invalidType,
  outOfRange,
  requireObject,
} from '../core/arguments.ts';
import { type Answer, type Binding, binding, type NativeMapping } from '../core/binding.ts';
import { check, checkBig, checkBuffer } from '../core/call.ts';
import { Closable } from '../core/closable.ts';
import { ETIMEDOUT } from '../core/errno.ts';
import { VfioError } from '../core/errors.ts';
import { defineInspect } from '../core/inspect_handle.ts';
import { throwIfAborted } from '../core/readiness.ts';
import { type SharedToken, tokenOf } from '../core/shared_token.ts';
import { warnIfFailed } from '../core/warnings.ts';
import { AccessErrors, extentOf, faultError } from './access_errors.ts';
import { checkHalves, checkValue } from './checks.ts';
import { done, fits, fits64, Mailbox, refused } from './mailbox.ts';
import type { MappedArea } from './mappable.ts';
import { notice, Notices } from './notices.ts';
import { type PreparedAccess, PreparedAccesses } from './prepared.ts';
import { makeRegisters, type RegisterMap, type Registers } from './registers.ts';

/** Elements of one width: each is one access. */
export type Block = Uint8Array | Uint16Array | Uint32Array | BigUint64Array;

/** How long to wait for a register's value, without keeping the event loop. */
export interface PollOptions extends PollSyncOptions {
  /** Aborting rejects with the signal's reason, 10 ms later at most. */
  signal?: AbortSignal | undefined;
}

/** How long to wait for a register's value. */
export interface PollSyncOptions {
  /** Milliseconds, 1,000 by default; 0 reads once. */
  timeout?: number | undefined;
}

const defaultTimeout = 1000;

/** Milliseconds that one poll is in the addon: an abort, and the end of a worker, wait so long. */
const slice = 10;

/**
 * A part of a region, mapped: registers at the cost of a memory access.
 *
 * Offsets count from where the mapping starts, in the region at {@link offset}. Each access is one
 * instruction of exactly its width, made when it is called and in the order of the calls. A write
 * comes after every earlier store to memory, so what was put into DMA memory is there when a
 * doorbell rings; a load of memory after a read comes after it. Values are little-endian, as in all
 * of PCI.
 *
 * Every access checks that the mapping is open, that the offset lies in it, and that it is aligned:
 * its place in the region, {@link offset} and the access's own together, is a multiple of the width.
 * A device that does not answer (memory decoding is off, it sleeps, it was pulled out) is
 * `EIO`, or reads as all ones: the bus says which.
 */
export class MappedRegion extends Closable {
  readonly #native: Binding = binding();
  readonly #box = new Mailbox(this.#native.mailbox());
  readonly #area: MappedArea;
  readonly #errors: AccessErrors;
  readonly #notices: Notices;
  /** 0, which names nothing, when closed. */
  #mapping: NativeMapping;
  /** What unmapping failed of, for another try. */
  #left: NativeMapping | undefined;
  #closed: Promise<void> | undefined;
  #buffer: ArrayBuffer | undefined;

  static {
    defineInspect(this, 'MappedRegion', (mapped) => {
      const { owner, name, offset, size } = mapped.#area;
      const state = mapped.closed ? 'closed' : 'open';
      return { address: owner.location.device.address, name, offset, size, state };
    });
  }

  private constructor(area: MappedArea, mapping: NativeMapping) {
    super();
    this.#area = area;
    this.#errors = new AccessErrors(area, () => this.closed);
    this.#notices = new Notices('noticesOfMapping', area.owner.location.device.address);
    this.#mapping = mapping;
    area.owner.mappings.add(this);
    dropped.register(this, mapping, this);
  }

  /** @internal */
  static adopt(area: MappedArea, mapping: NativeMapping): MappedRegion {
    return new MappedRegion(area, mapping);
  }

  /** The region's name. */
  get name(): string {
    return this.#area.name;
  }

  /** Where in the region the mapping starts. */
  get offset(): number {
    return this.#area.offset;
  }

  /** Bytes. */
  get size(): number {
    return this.#area.size;
  }

  /**
   * Where the mapping is in this process: what KVM takes for a memory slot (`userspace_addr`, with
   * {@link size}). Whoever uses the address keeps this object, and ends that use before the mapping
   * or its device is closed: something else may lie there afterwards. Nothing that this class
   * checks is checked there: map no part with the MSI-X table for a guest.
   *
   * @throws VfioError `ERR_VFIO_CLOSED`
   */
  get address(): bigint {
    this.#errors.requireOpen();
    return checkBig(this.#native.mappingAddress(this.#mapping), { syscall: 'mappingAddress' });
  }

  /** Whether it is unmapped: it, or its device, was closed. */
  get closed(): boolean {
    return this.#mapping === closedMapping;
  }

  /**
   * Whether somebody wants the device back, as `VfioDevice.removalRequested`, for a loop that has
   * the mapping alone: in a worker, say. The device is not given back before every mapping of it is
   * closed.
   *
   * @throws VfioError `ERR_VFIO_IRQ_DISABLED` where nobody in this process hears of it;
   *   `ERR_VFIO_CLOSED`
   */
  get removalRequested(): boolean {
    if (this.#notices.isKnown(notice.request)) return true;
    this.#errors.requireOpen();
    return this.#notices.ask(notice.request, this.#mapping);
  }

  /**
   * A token by which another thread of this process maps the same part: {@link fromShared}. The
   * device stays bound until the last mapping of it is closed. What {@link fromShared} answered
   * shares no further: share it where its device is open.
   *
   * @throws VfioError `ERR_VFIO_CLOSED`
   */
  share(): SharedToken<'region'> {
    const { owner, name, offset, size, readOnly, high, low } = this.#area;
    this.#errors.requireOpen();
    const part = { name, offset, size, high, low };
    const { start: readOnlyStart, end: readOnlyEnd } = readOnly;
    const { location } = owner;
    const fd = owner.fd.offer();
    return tokenOf('region', { fd, location, ...part, readOnlyStart, readOnlyEnd });
  }

  /**
   * Reads one byte.
   *
   * @param offset - from where the mapping starts, in bytes
   * @throws TypeError, RangeError for an offset outside or not aligned
   * @throws VfioError `EIO` where the device does not answer; `ERR_VFIO_CLOSED`
   */
  read8(offset: number): number {
    const box = this.#box;
    box.aim(this.#mapping, offset);
    this.#native.read8();
    if (box.status !== done) throw this.#errors.read('read8', offset, 1, box.status);
    return box.value;
  }

  /** Reads two bytes, like {@link read8}. */
  read16(offset: number): number {
    const box = this.#box;
    box.aim(this.#mapping, offset);
    this.#native.read16();
    if (box.status !== done) throw this.#errors.read('read16', offset, 2, box.status);
    return box.value;
  }

  /** Reads four bytes, like {@link read8}. */
  read32(offset: number): number {
    const box = this.#box;
    box.aim(this.#mapping, offset);
    this.#native.read32();
    if (box.status !== done) throw this.#errors.read('read32', offset, 4, box.status);
    return box.value;
  }

  /** Reads eight bytes, like {@link read8}, in one access. Not every device takes such. */
  read64(offset: number): bigint {
    const box = this.#box;
    box.aim(this.#mapping, offset);
    this.#native.read64();
    if (box.status !== done) throw this.#errors.read('read64', offset, 8, box.status);
    return box.value64;
  }

  /**
   * Reads eight bytes, like {@link read8}, in two accesses of four, the low half first: for devices
   * that take no accesses of eight. A multiple of 4 is enough.
   */
  read64LoHi(offset: number): bigint {
    this.#errors.requireOpen();
    checkHalves(offset, extentOf(this.#area));
    const low = this.read32(offset);
    return (BigInt(this.read32(offset + 4)) << 32n) | BigInt(low);
  }

  /**
   * Writes one byte. This and the others take what fits their width, without a sign
   * (`value >>> 0`).
   *
   * @param offset - from where the mapping starts, in bytes
   * @param value - what is written
   * @throws TypeError, RangeError for an offset outside, not aligned, in the MSI-X table or in a
   *   region that cannot be written, and for a value that does not fit
   * @throws VfioError `EIO` where the device does not answer; `ERR_VFIO_CLOSED`
   */
  write8(offset: number, value: number): void {
    if (!fits(value, 0xff)) throw this.#errors.write('write8', offset, 1, value, refused);
    const box = this.#box;
    box.aim(this.#mapping, offset);
    box.value = value;
    this.#native.write8();
    if (box.status !== done) throw this.#errors.write('write8', offset, 1, value, box.status);
  }

  /** Writes two bytes, like {@link write8}. */
  write16(offset: number, value: number): void {
    if (!fits(value, 0xffff)) throw this.#errors.write('write16', offset, 2, value, refused);
    const box = this.#box;
    box.aim(this.#mapping, offset);
    box.value = value;
    this.#native.write16();
    if (box.status !== done) throw this.#errors.write('write16', offset, 2, value, box.status);
  }

  /** Writes four bytes, like {@link write8}. */
  write32(offset: number, value: number): void {
    if (!fits(value, 0xffffffff)) throw this.#errors.write('write32', offset, 4, value, refused);
    const box = this.#box;
    box.aim(this.#mapping, offset);
    box.value = value;
    this.#native.write32();
    if (box.status !== done) throw this.#errors.write('write32', offset, 4, value, box.status);
  }

  /** Writes eight bytes, like {@link write8}, in one access. */
  write64(offset: number, value: bigint): void {
    if (!fits64(value)) throw this.#errors.write('write64', offset, 8, value, refused);
    const box = this.#box;
    box.aim(this.#mapping, offset);
    box.value64 = value;
    this.#native.write64();
    if (box.status !== done) throw this.#errors.write('write64', offset, 8, value, box.status);
  }

  /**
   * Writes eight bytes, like {@link write8}, in two accesses of four, the low half first: for
   * devices that take no accesses of eight. A multiple of 4 is enough. Who has the halves as
   * numbers, as {@link DmaSpan.iovaLow} answers them, calls {@link write32} twice.
   */
  write64LoHi(offset: number, value: bigint): void {
    this.#errors.requireOpen();
    checkHalves(offset, extentOf(this.#area));
    checkValue(value, 8);
    this.#errors.checkWritable(offset, 8);
    this.write32(offset, Number(BigInt.asUintN(32, value)));
    this.write32(offset + 4, Number(value >> 32n));
  }

  /**
   * Everything before, of memory and of devices, comes before everything after. Reads and writes of
   * a device order themselves; this is for memory that a device and this program both write.
   */
  barrier(): void {
    this.#native.barrier();
  }

  /**
   * Reads neighbouring registers, each of the width of `target`'s elements.
   *
   * @param offset - of the first, from where the mapping starts, in bytes
   * @returns `target`
   * @throws as {@link read8}; after `EIO` a part of `target` may be filled
   */
  readBlock<Target extends Block>(offset: number, target: Target): Target {
    const answer = this.#native.readBlock(this.#mapping, offset, target);
    if (answer !== 0) throw this.#errors.block('readBlock', offset, target, answer);
    return target;
  }

  /**
   * Writes as {@link readBlock} reads.
   *
   * @throws as {@link write8}; after `EIO` a part may be written
   */
  writeBlock(offset: number, values: Block): void {
    const answer = this.#native.writeBlock(this.#mapping, offset, values);
    if (answer !== 0) throw this.#errors.block('writeBlock', offset, values, answer);
  }

  /**
   * Reads registers of 32 bits, one at each of `offsets` in their order, into `values`. Many in one
   * call cost a tenth of as many calls, and two no more than two.
   *
   * @returns `values`
   * @throws as {@link read8}, before the first access; after `EIO` a part of `values` may be filled
   */
  readBatch32(offsets: Uint32Array, values: Uint32Array): Uint32Array {
    const box = this.#box;
    if (box.aimRows(this.#mapping, offsets, values)) {
      this.#native.readRows32();
      this.#checkRows('readBatch32', offsets, values);
      box.takeRows(values, offsets.length);
      return values;
    }
    const answer = this.#native.readBatch32(this.#mapping, offsets, values);
    if (answer !== 0) throw this.#errors.batch('readBatch32', offsets, values, answer);
    return values;
  }

  /**
   * Writes as {@link readBatch32} reads.
   *
   * @throws as {@link write8}, before the first access; after `EIO` a part may be written
   */
  writeBatch32(offsets: Uint32Array, values: Uint32Array): void {
    if (this.#box.aimRows(this.#mapping, offsets, values)) {
      this.#native.writeRows32();
      this.#checkRows('writeBatch32', offsets, values);
      return;
    }
    const answer = this.#native.writeBatch32(this.#mapping, offsets, values);
    if (answer !== 0) throw this.#errors.batch('writeBatch32', offsets, values, answer);
  }

  /**
   * Makes accesses ready that are made again and again: {@link PreparedAccesses.run} makes all of
   * them, in their order, by a call that costs less than one `write32`. Their places are checked
   * here and now.
   *
   * @param accesses - 1 to 1,024
   * @throws TypeError, RangeError for a place outside, not aligned or that must not be written
   * @throws VfioError `ERR_VFIO_CLOSED`; `ENOTSUP`, reason `no-external-buffers`, where the engine
   *   takes no foreign memory (Electron)
   */
  prepare(accesses: readonly PreparedAccess[]): PreparedAccesses {
    return PreparedAccesses.of(this.#mapping, this.#errors, accesses);
  }

  /**
   * Reads a register of 32 bits until `(register & mask) === value`, on a thread of the addon's
   * own, some ten thousand times a second.
   *
   * @param offset - from where the mapping starts, in bytes; a multiple of 4
   * @param mask - the bits that are compared
   * @param value - what they are to be
   * @returns what was read last, all of it
   * @throws TypeError, RangeError as {@link read8} does, and for a value that has bits outside
   *   `mask`
   * @throws VfioError `ERR_VFIO_TIMEOUT`; `EIO`; `ERR_VFIO_CLOSED`, also where it is closed
   *   meanwhile
   * @throws the signal's reason
   */
  async poll32(
    offset: number,
    mask: number,
    value: number,
    options: PollOptions = {},
  ): Promise<number> {
    requireObject('options', options);
    const { timeout = defaultTimeout, signal } = options;
    checkPoll(mask, value, timeout);
    checkSignal(signal);
    const deadline = performance.now() + timeout;
    for (;;) {
      throwIfAborted(signal);
      const left = Math.max(0, Math.ceil(deadline - performance.now()));
      const time = Math.min(left, slice);
      const answer = await this.#native.poll32(this.#mapping, offset, mask, value, time);
      if (answer !== undefined && answer >= 0) return answer;
      if (answer === ETIMEDOUT && left > slice) continue;
      throw this.#errors.poll(offset, mask, value, timeout, answer);
    }
  }

  /**
   * The blocking form of {@link poll32}: reads as often as it can, and nothing else runs meanwhile.
   */
  poll32Sync(offset: number, mask: number, value: number, options: PollSyncOptions = {}): number {
    requireObject('options', options);
    const { timeout = defaultTimeout } = options;
    checkPoll(mask, value, timeout);
    const time = Math.ceil(timeout);
    const answer = this.#native.poll32Sync(this.#mapping, offset, mask, value, time);
    if (answer !== undefined && answer >= 0) return answer;
    throw this.#errors.poll(offset, mask, value, timeout, answer);
  }

  /**
   * Gives registers their names, widths, fields and access:
   *
   * ```ts
   * const regs = bar.registers({
   *   id: { offset: 0x00, access: 'r', fields: { major: 0xff000000, minor: 0x00ff0000 } },
   *   base: { offset: 0x30, width: 64, fields: { page: 0xffff_ffff_f000n, size: 0xfff } },
   *   doorbells: { offset: 0x1000, access: 'w', stride: 8, count: 64 },
   * });
   * regs.id.readFields().major;
   * regs.base.writeFields({ page: iova >> 12n, size: 63 });
   * regs.doorbells.at(3).write(1);
   * ```
   *
   * Nothing is accessed before a method is called. What a register's access does not allow has no
   * method in TypeScript, and throws `ERR_VFIO_READ_ONLY` or `ERR_VFIO_WRITE_ONLY`.
   *
   * @throws TypeError, RangeError for an offset outside or not aligned, a mask that is none, more
   *   registers than fit
   */
  registers<const Given extends RegisterMap>(map: Given): Registers<Given> {
    return makeRegisters(this, map, this.#area.offset);
  }

  /**
   * The mapped bytes as an ArrayBuffer, without any of what this class promises: a fault ends the
   * process, and engines read and write such memory in widths, at times and as often as they like,
   * also to print it. docs/unsafe.md has the whole list. Closing detaches the buffer; the memory
   * stays mapped, and the device in use, until the garbage collector takes it.
   *
   * @throws VfioError `ERR_VFIO_NOT_MAPPABLE` where a part must not be written (the MSI-X table);
   *   `ENOTSUP`, reason `no-external-buffers`, where the engine takes no memory from outside;
   *   `ERR_VFIO_CLOSED`
   */
  unsafeArrayBuffer(): ArrayBuffer {
    this.#errors.requireOpen();
    this.#buffer ??= this.#expose();
    return this.#buffer;
  }

  /**
   * Unmaps. Ends the polls that are under way. Closing twice, or after the device, which closes its
   * mappings, is harmless.
   *
   * @throws VfioError where the kernel does not unmap (`ENOMEM`), which keeps the device in use;
   *   closing once more, this or the device, tries again
   */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  /** The blocking form of {@link close}. */
  closeSync(): void {
    const mapping = this.#take();
    if (mapping === closedMapping) return;
    this.#closed = Promise.resolve();
    this.#checkUnmapped(mapping, this.#native.unmapSync(mapping));
  }

  async #close(): Promise<void> {
    const mapping = this.#take();
    if (mapping === closedMapping) return;
    this.#checkUnmapped(mapping, await this.#native.unmap(mapping));
  }

  #checkRows(call: string, offsets: Uint32Array, values: Uint32Array): void {
    const { status } = this.#box;
    if (status === done) return;
    const answer = status === refused ? undefined : status;
    throw this.#errors.batch(call, offsets, values, answer);
  }

  #take(): NativeMapping {
    const mapping = this.#left ?? this.#mapping;
    this.#left = undefined;
    this.#mapping = closedMapping;
    this.#area.owner.mappings.delete(this);
    dropped.unregister(this);
    const buffer = this.#buffer;
    this.#buffer = undefined;
    if (buffer !== undefined) check(this.#native.detachBuffer(buffer), { syscall: 'detach' });
    return mapping;
  }

  #checkUnmapped(mapping: NativeMapping, answer: Answer): void {
    if (answer === 0) return;
    this.#left = mapping;
    this.#closed = undefined;
    this.#area.owner.mappings.add(this);
    dropped.register(this, mapping, this);
    throw faultError(this.#area, 'munmap', 0, answer);
  }

  #expose(): ArrayBuffer {
    const { start, end } = this.#area.readOnly;
    if (start < end) {
      throw new VfioError({
        code: 'ERR_VFIO_NOT_MAPPABLE',
        message: `the mapping of ${this.name} has a part that must not be written, and an ArrayBuffer protects nothing`,
      });
    }
    const { owner, name } = this.#area;
    const where = { device: owner.location.device.address, region: name };
    return checkBuffer(this.#native.exposeMapping(this.#mapping), where);
  }
}

const closedMapping = 0 as NativeMapping;

function checkPoll(mask: unknown, value: unknown, timeout: unknown): void {
  checkBits('mask', mask, 0xffff_ffff);
  checkBits('value', value, mask as number);
  checkTimeout(timeout);
}

function checkBits(name: string, bits: unknown, within: number): void {
  const expected = `a whole number with bits of 0x${within.toString(16)} alone`;
  if (typeof bits !== 'number') throw invalidType(name, expected, bits);
  if (bits >= 0 && bits >>> 0 === bits && (bits & ~within) === 0) return;
  throw outOfRange(name, expected, bits);
}

/**
 * Unmaps what nobody can reach any more. Without a warning: the device keeps its mappings, so it
 * was dropped as well, and the warning is its own.
 */
const dropped = new FinalizationRegistry<NativeMapping>((mapping) => {
  warnIfFailed(binding().unmap(mapping), { syscall: 'munmap' });
});
