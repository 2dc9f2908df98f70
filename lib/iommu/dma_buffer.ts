import { invalidValue, outOfRange, requireBoolean, requireObject } from '../core/arguments.ts';
import { type Answer, binding, type NativeMemory } from '../core/binding.ts';
import { check, checkBig, checkBuffer } from '../core/call.ts';
import { EINVAL } from '../core/errno.ts';
import { VfioError } from '../core/errors.ts';
import { defineInspect } from '../core/inspect_handle.ts';
import { checkLength, checkOffset } from '../core/iova.ts';
import { LinkedList, type Listed } from '../core/linked_list.ts';
import { type SharedToken, tokenOf } from '../core/shared_token.ts';
import { call, run, runSync, type Steps, withAll } from '../core/steps.ts';
import { makeUncloneable } from '../core/uncloneable.ts';
import { type CounterPollOptions, DmaPoll, type EntryPollOptions } from './dma_poll.ts';
import type { DmaMapping } from './mapping.ts';
import { allocated, Memory } from './memory.ts';

/** Which pages the memory has. */
export interface DmaBufferOptions {
  /**
   * Pages of this size, from those that the administrator set aside (vm.nr_hugepages): fewer
   * entries for the IOMMU, faster to map. `'auto'` takes 2 MiB pages for 2 MiB and more where there
   * are enough and this process may have them, which it proves by filling them at once (Linux
   * 5.14), and ordinary ones otherwise. `false` by default. A cgroup's limit on the others shows
   * when they are first needed, as SIGBUS: `populate` them.
   */
  hugePages?: false | '2M' | '1G' | 'auto' | undefined;
  /**
   * Whether to have the kernel find all pages now (Linux 5.14); otherwise it does when each is
   * first needed.
   */
  populate?: boolean | undefined;
}

/** memfd_create's flags, by the page size. MFD_NOEXEC_SEAL is Linux 6.3's. */
const noExecSeal = 8;
const hugeTlb = 4;
const hugeSizes = {
  '2M': { bytes: 2 ** 21, flags: hugeTlb | (21 << 26) },
  '1G': { bytes: 2 ** 30, flags: hugeTlb | (30 << 26) },
};

/** A size and page kind that may be tried. */
interface Kind {
  size: number;
  flags: number;
  /** The size of a huge page. */
  pageSize?: number;
  /** Only what was filled is known to be there. */
  mustPopulate?: true;
}

/**
 * Memory for DMA: zeroed, page-aligned, shared with children rather than copied on write, and there
 * for as long as anything needs it. `buffer` shows it to JavaScript, {@link Ioas.map} to devices.
 *
 * Disposing of it unmaps it from every address space and detaches its ArrayBuffers. The pages
 * themselves go only when no ArrayBuffer over them is left, also not one that `transfer()` made.
 * One that is dropped and not disposed of stays mapped where it is mapped.
 */
export class DmaBuffer {
  readonly #memory: Memory;
  readonly #mappings = new LinkedList<DmaMapping>();
  #shown: WeakRef<ArrayBuffer>[] = [];
  #whole: ArrayBuffer | undefined;
  /** No map is begun any more; then, when all are undone, the memory is not ours any more. */
  #disposed = false;
  #givenUp = false;

  static {
    defineInspect(this, 'DmaBuffer', (buffer) => ({
      size: buffer.size,
      mappings: buffer.mappings.length,
      state: buffer.disposed ? 'disposed' : 'open',
    }));
  }

  private constructor(memory: Memory) {
    makeUncloneable(this);
    this.#memory = memory;
    memory.ref();
  }

  /**
   * @param size - in bytes; made a multiple of the page size
   * @throws TypeError, RangeError
   * @throws VfioError `ENOMEM` (reason `too-few-huge-pages`), `EFAULT` (reason `hugetlb-limit`);
   *   `ENODEV` or `ENOSYS` where the kernel has no huge pages of this size
   */
  static async allocate(size: number, options: DmaBufferOptions = {}): Promise<DmaBuffer> {
    return await run(DmaBuffer.#allocate(size, options));
  }

  /** The blocking form of {@link allocate}. */
  static allocateSync(size: number, options: DmaBufferOptions = {}): DmaBuffer {
    return runSync(DmaBuffer.#allocate(size, options));
  }

  static *#allocate(size: unknown, options: DmaBufferOptions): Steps<DmaBuffer> {
    checkBufferOptions(options);
    const { hugePages = false, populate = false } = options;
    const [first, second] = kindsOf(checkLength('size', size), hugePages);
    const answer = yield* tryKind(first, populate);
    if (second === undefined || isGood(answer)) return DmaBuffer.#made(answer, first);
    return DmaBuffer.#made(yield* tryKind(second, populate), second);
  }

  static #made(answer: Answer, kind: Kind): DmaBuffer {
    return new DmaBuffer(new Memory(allocated(answer, kind) as NativeMemory, kind.size));
  }

  /** Whether it is one, and not only called so. @internal */
  static isDmaBuffer(value: unknown): value is DmaBuffer {
    return typeof value === 'object' && value !== null && #memory in value;
  }

  /** @internal */
  static adopt(memory: Memory): DmaBuffer {
    return new DmaBuffer(memory);
  }

  /** In bytes: what was asked for, and the rest of the last page. */
  get size(): number {
    return this.#memory.size;
  }

  /**
   * All of it. Detached by `dispose`: then its length is 0.
   *
   * @throws VfioError `ERR_VFIO_CLOSED`; `ENOTSUP`, reason `no-external-buffers`, where the engine
   *   takes no foreign memory (Electron)
   * @throws RangeError on Node 20 above 4 GiB: use {@link window}
   */
  get buffer(): ArrayBuffer {
    this.#whole ??= this.window(0, this.size);
    return this.#whole;
  }

  /**
   * Where all of it is in this process: what KVM takes for a memory slot (`userspace_addr`, with
   * {@link size}). Whoever uses the address keeps this object, and ends that use before disposing
   * of it: something else may lie there afterwards.
   *
   * @throws VfioError `ERR_VFIO_CLOSED`
   */
  get address(): bigint {
    return checkBig(binding().memoryAddress(this.memory.native), { syscall: 'memoryAddress' });
  }

  /**
   * A part of it, for memory larger than an ArrayBuffer can be (4 GiB on Node 20). Each call makes
   * another over the same bytes.
   *
   * @param offset - from its start, in bytes
   * @param length - in bytes
   * @throws TypeError, RangeError
   * @throws VfioError as {@link buffer}
   */
  window(offset: number, length: number): ArrayBuffer {
    const start = checkOffset('offset', offset);
    const bytes = checkLength('length', length);
    if (start + bytes > this.size)
      throw outOfRange('length', `${this.size - start} at most`, length);
    const most = process.getBuiltinModule('node:buffer').constants.MAX_LENGTH;
    if (bytes > most) throw outOfRange('length', `${most} at most on this Node`, length);
    const { native } = this.memory;
    const buffer = checkBuffer(binding().memoryBuffer(native, BigInt(start), BigInt(bytes)));
    this.#remember(buffer);
    return buffer;
  }

  /**
   * Makes ready a poll of a ring of entries that a device writes, each with some bits that tell
   * whether it is new. The completion queue of an NVMe controller, whose phase bit changes at each
   * wrap:
   *
   * ```ts
   * const phase = 0x1_0000;
   * const completions = queue.pollEntries({
   *   offset: 12, stride: 16, count: 64, mask: phase, value: phase, step: phase,
   * });
   * const fresh = completions.poll();
   * for (let at = 0; at < fresh; at++) finish((completions.first + at) % 64);
   * ```
   *
   * A network card's “descriptor done” bit has no `step`: the program clears it before the device
   * gets the descriptor back. A generation number that counts up has the step of its lowest bit. The
   * two flags of virtio's packed rings are one mask (`0x8080`, of 16 bits) with itself as value and
   * step.
   *
   * @throws TypeError, RangeError
   * @throws VfioError `ERR_VFIO_CLOSED`
   */
  pollEntries(options: EntryPollOptions): DmaPoll {
    return DmaPoll.ofEntries(this, this.memory.native, this.size, options);
  }

  /**
   * Makes ready a poll of one word that counts what the device has done, and so differs from what
   * it was when something is new: `used.idx` of a virtio ring, which counts to 2^16 whatever the
   * ring's size.
   *
   * ```ts
   * const used = queue.pollCounter({ offset: 4098, width: 16 });
   * const fresh = used.poll();
   * for (let at = 0; at < fresh; at++) finish((used.first + at) % entries);
   * ```
   *
   * @throws TypeError, RangeError
   * @throws VfioError `ERR_VFIO_CLOSED`
   */
  pollCounter(options: CounterPollOptions): DmaPoll {
    return DmaPoll.ofCounter(this, this.memory.native, this.size, options);
  }

  /**
   * A token by which another thread of this process gets the same memory: {@link fromShared}. Its
   * ArrayBuffers there show the same bytes, without the order that a SharedArrayBuffer has by
   * Atomics; disposing of it in one thread unmaps what that thread mapped, and takes nothing from
   * the other.
   *
   * @throws VfioError `ERR_VFIO_CLOSED`
   */
  share(): SharedToken<'dma-buffer'> {
    const memory = check(binding().memoryOffer(this.memory.native), { syscall: 'memoryOffer' });
    return tokenOf('dma-buffer', { memory, size: this.size });
  }

  /** Where devices reach it now. */
  get mappings(): DmaMapping[] {
    return this.#mappings.toArray();
  }

  /** Whether it was disposed of. */
  get disposed(): boolean {
    return this.#disposed;
  }

  /**
   * Unmaps it from every address space, then detaches its ArrayBuffers. Where unmapping fails it is
   * not detached, and can be disposed of again. A map that is still being made is undone when it is
   * made. Harmless where it was disposed of.
   *
   * @throws VfioError what {@link DmaMapping.unmap} throws
   */
  async dispose(): Promise<void> {
    await run(this.#dispose());
  }

  /** The blocking form of {@link dispose}. */
  disposeSync(): void {
    runSync(this.#dispose());
  }

  *#dispose(): Steps<void> {
    this.#disposed = true;
    yield* withAll(
      this.mappings,
      (mapping) => mapping.unmap(),
      (mapping) => {
        mapping.unmapSync();
      },
    );
    this.#giveUp();
  }

  /** At the end of a block with `using`: {@link disposeSync}. */
  [Symbol.dispose](): void {
    this.disposeSync();
  }

  /** At the end of a block with `await using`: {@link dispose}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  /** @throws VfioError `ERR_VFIO_CLOSED` @internal */
  get memory(): Memory {
    if (!this.#disposed) return this.#memory;
    throw new VfioError({ code: 'ERR_VFIO_CLOSED', message: 'the DMA memory was disposed of' });
  }

  /** A part of it, by the ArrayBuffer of all where that can be. @internal */
  view(offset: number, length: number): Uint8Array {
    const most = process.getBuiltinModule('node:buffer').constants.MAX_LENGTH;
    if (this.size > most) return new Uint8Array(this.window(offset, length));
    return new Uint8Array(this.buffer, offset, length);
  }

  /** @internal */
  mapped(mapping: DmaMapping): Listed<DmaMapping> {
    return this.#mappings.add(mapping);
  }

  /** @internal */
  unmapped(place: Listed<DmaMapping>): void {
    this.#mappings.remove(place);
  }

  /** To be detached; those that were collected are forgotten now and then. */
  #remember(buffer: ArrayBuffer): void {
    if (this.#shown.length % 64 === 63) {
      this.#shown = this.#shown.filter((each) => each.deref() !== undefined);
    }
    this.#shown.push(new WeakRef(buffer));
  }

  #giveUp(): void {
    if (this.#givenUp) return;
    this.#givenUp = true;
    for (const shown of this.#shown) {
      const buffer = shown.deref();
      if (buffer) check(binding().detachBuffer(buffer), { syscall: 'detach' });
    }
    this.#shown = [];
    this.#whole = undefined;
    this.#memory.unref();
  }
}

function* tryKind({ size, flags, mustPopulate }: Kind, populate: boolean): Steps<Answer> {
  const filled = populate || mustPopulate ? 1 : 0;
  const answer = yield* call('memoryAllocate', BigInt(size), flags | noExecSeal, filled);
  // Kernels before 6.3 do not know the flag, and do not miss it.
  return answer === EINVAL ? yield* call('memoryAllocate', BigInt(size), flags, filled) : answer;
}

/** What to try, and what instead where that cannot be had. */
function kindsOf(
  wanted: number,
  hugePages: DmaBufferOptions['hugePages'],
): [first: Kind, second?: Kind] {
  const ordinary = { size: roundUp(wanted, binding().pageSize()), flags: 0 };
  if (hugePages === false) return [ordinary];
  if (hugePages === '2M' || hugePages === '1G') return [huge(wanted, hugePages)];
  if (wanted < hugeSizes['2M'].bytes) return [ordinary];
  return [{ ...huge(wanted, '2M'), mustPopulate: true }, ordinary];
}

function huge(wanted: number, size: keyof typeof hugeSizes): Kind {
  const { bytes, flags } = hugeSizes[size];
  return { size: roundUp(wanted, bytes), flags, pageSize: bytes };
}

function roundUp(size: number, page: number): number {
  const rounded = Math.ceil(size / page) * page;
  if (Number.isSafeInteger(rounded)) return rounded;
  throw outOfRange('size', 'less than 2 ** 53 with the rest of its last page', size);
}

const hugePageKinds: unknown[] = [undefined, false, '2M', '1G', 'auto'];

/** @throws TypeError */
export function checkBufferOptions(options: DmaBufferOptions): void {
  requireObject('options', options);
  const { hugePages, populate } = options;
  requireBoolean('populate', populate);
  if (hugePageKinds.includes(hugePages)) return;
  throw invalidValue('hugePages', "false, '2M', '1G' or 'auto'", hugePages);
}

function isGood(answer: Answer): boolean {
  return answer !== undefined && answer >= 0;
}
