import {
  elementsOf,
  invalidType,
  invalidValue,
  outOfRange,
  requireObject,
} from '../core/arguments.ts';
import { type Binding, binding, type NativeMapping, type NativePrepared } from '../core/binding.ts';
import { check, checkBuffer } from '../core/call.ts';
import { VfioError } from '../core/errors.ts';
import { defineInspect } from '../core/inspect_handle.ts';
import { makeUncloneable } from '../core/uncloneable.ts';
import type { AccessErrors } from './access_errors.ts';
import type { Width } from './checks.ts';
import { done, Mailbox } from './mailbox.ts';

/** One access of a mapping, to be made later: {@link MappedRegion.prepare}. */
export interface PreparedAccess {
  /** Whether it reads or writes. */
  readonly op: 'read' | 'write';
  /** In the mapping; a multiple of the width. */
  readonly offset: number;
  /** Bits: 8, 16, 32 (without this) or 64. */
  readonly width?: 8 | 16 | 32 | 64 | undefined;
}

/** What is checked of a {@link PreparedAccess}. */
interface Checked {
  op: 'read' | 'write';
  offset: number;
  width: 8 | 16 | 32 | 64;
}

const mostAccesses = 1024;

/**
 * Accesses of a mapping, in their order, whose places were checked once: {@link run} makes all of
 * them by one call without arguments. Doorbells, and registers that are read together.
 *
 * ```ts
 * const doorbells = bar.prepare([
 *   { op: 'write', offset: 0x1008 },
 *   { op: 'write', offset: 0x100c },
 * ]);
 * doorbells.values[0] = tail;
 * doorbells.values[1] = head;
 * doorbells.run();
 * ```
 *
 * Each is what a single access of {@link MappedRegion} is: one instruction of its width, in its
 * place in the order, after all stores to memory that came before. What they write and have read is
 * in two arrays, which are the same for as long as the object is there, and have an element for each
 * access.
 */
export class PreparedAccesses {
  /**
   * Element n is the value of the n-th access, where that has 32 bits or fewer: what it writes, of
   * which a narrower one takes the low bits; or what it has read. Its memory is the accesses' own:
   * once it is transferred to somewhere else, they are made no more.
   */
  readonly values: Uint32Array;
  /**
   * The same of accesses of 64 bits. A `Uint32Array` over its buffer, from its `byteOffset` on, has
   * their halves as numbers, which makes no bigints.
   */
  readonly values64: BigUint64Array;
  readonly #native: Binding = binding();
  readonly #box = new Mailbox(this.#native.mailbox());
  readonly #accesses: readonly Checked[];
  readonly #errors: AccessErrors;
  readonly #prepared: NativePrepared;

  static {
    defineInspect(this, 'PreparedAccesses', (prepared) => {
      const { values, values64 } = prepared;
      const accesses = prepared.#accesses.map((access, at) => ({
        ...access,
        value: access.width === 64 ? values64[at] : values[at],
      }));
      return { accesses, state: prepared.#state };
    });
  }

  private constructor(
    errors: AccessErrors,
    accesses: readonly Checked[],
    prepared: NativePrepared,
    values: ArrayBuffer,
  ) {
    makeUncloneable(this);
    const { length } = accesses;
    this.#errors = errors;
    this.#accesses = accesses;
    this.#prepared = prepared;
    this.values64 = new BigUint64Array(values, 0, length);
    this.values = new Uint32Array(values, this.values64.byteLength, length);
    dropped.register(this, prepared);
    // Another array in the place of one of these would be written to and never read.
    Object.freeze(this);
  }

  /** Throws as `MappedRegion.prepare` says. @internal */
  static of(mapping: NativeMapping, errors: AccessErrors, accesses: unknown): PreparedAccesses {
    errors.requireOpen();
    const checked = checkAccesses(errors, readAccesses(accesses));
    // Reading them runs code of the caller's, which may have closed the mapping.
    errors.requireOpen();
    const native = binding();
    const kinds = Uint8Array.from(checked, kindOf);
    const offsets = BigUint64Array.from(checked, ({ offset }) => BigInt(offset));
    const answer = native.prepare(mapping, kinds, offsets);
    const prepared = check(answer, { syscall: 'prepare' }) as NativePrepared;
    try {
      const values = checkBuffer(native.preparedValues(prepared));
      return new PreparedAccesses(errors, checked, prepared, values);
    } catch (error) {
      native.preparedRelease(prepared);
      throw error;
    }
  }

  /**
   * What the addon calls it.
   *
   * @throws TypeError for anything else; VfioError `ERR_VFIO_CLOSED` where it has no values any more
   * @internal
   */
  static handleOf(accesses: unknown): NativePrepared {
    if (typeof accesses === 'object' && accesses !== null && #prepared in accesses) {
      if (accesses.values64.length === 0) throw detachedError();
      return accesses.#prepared;
    }
    throw invalidType('accesses', 'what prepare() of a mapping answered', accesses);
  }

  /**
   * Makes the accesses.
   *
   * @throws VfioError `EIO` where the device does not answer, of the first access that failed: those
   *   before it were made, those after it were not; `ERR_VFIO_CLOSED`, also where the memory of
   *   {@link values} was transferred away
   */
  run(): void {
    // Detached; there is one access at least.
    if (this.values64.length === 0) throw detachedError();
    const box = this.#box;
    box.aimPrepared(this.#prepared);
    this.#native.runPrepared();
    if (box.status !== done) throw this.failed(box.failedAt, box.status);
  }

  get #state(): string {
    if (this.#errors.isClosed) return 'closed';
    return this.values64.length === 0 ? 'transferred' : 'open';
  }

  /** What a failed run is called. @internal */
  failed(at: number, status: number): Error {
    return this.#errors.prepared(this.#accesses[at], status);
  }
}

/** What was given of an access: read once, and checked afterwards. */
type Given = { [Key in keyof Checked]: unknown };

/** Each once, and by its number: what an array's iterator says is the caller's. */
function readAccesses(accesses: unknown): Given[] {
  if (!Array.isArray(accesses)) throw invalidType('accesses', 'an array of accesses', accesses);
  const { length } = accesses;
  if (!(length > 0 && length <= mostAccesses)) {
    throw outOfRange('accesses.length', `from 1 to ${mostAccesses}`, length);
  }
  return elementsOf(accesses, length).map((access, at) => {
    requireObject(`accesses[${at}]`, access);
    const { op, offset, width = 32 } = access as Given;
    return { op, offset, width };
  });
}

function checkAccesses(errors: AccessErrors, accesses: readonly Given[]): readonly Checked[] {
  for (const [at, access] of accesses.entries()) checkOne(errors, access, `accesses[${at}]`);
  return accesses as readonly Checked[];
}

function checkOne(errors: AccessErrors, { op, offset, width }: Given, name: string): void {
  if (typeof op !== 'string') throw invalidType(`${name}.op`, "'read' or 'write'", op);
  if (op !== 'read' && op !== 'write') throw invalidValue(`${name}.op`, "'read' or 'write'", op);
  if (width !== 8 && width !== 16 && width !== 32 && width !== 64) {
    throw invalidValue(`${name}.width`, '8, 16, 32 or 64', width);
  }
  errors.checkPlace(op, offset, (width / 8) as Width, `${name}.offset`);
}

function detachedError(): VfioError {
  const message =
    'the values of the prepared accesses are gone: their memory was transferred to somewhere else';
  return new VfioError({ code: 'ERR_VFIO_CLOSED', message });
}

/** As `Prepared::Access` in native/prepared.h has it. */
function kindOf({ op, width }: Checked): number {
  return Math.log2(width / 8) | (op === 'write' ? 4 : 0);
}

/** Nobody can run them any more. Their values stay while somebody has these. */
const dropped = new FinalizationRegistry<NativePrepared>((prepared) => {
  binding().preparedRelease(prepared);
});
