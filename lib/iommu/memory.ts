import { type Answer, binding, type NativeMemory } from '../core/binding.ts';
import { checkSteps } from '../core/call.ts';
import { explained, VfioError } from '../core/errors.ts';
import { hugePageCause } from '../diagnose/map_causes.ts';

/**
 * Pages of the addon's, for as long as anybody here may want to map or show them: a buffer that was
 * not disposed of, a map that is being made. The addon counts besides who needs the pages there.
 */
export class Memory {
  #handle: NativeMemory | undefined;
  #users = 0;
  readonly size: number;
  /** The same; made once, since a buffer may be mapped many times. */
  readonly length: bigint;

  constructor(handle: NativeMemory, size: number) {
    this.#handle = handle;
    this.size = size;
    this.length = BigInt(size);
    dropped.register(this, handle, this);
  }

  /** For the addon's functions. Throws `ERR_VFIO_CLOSED`. */
  get native(): NativeMemory {
    if (this.#handle === undefined) {
      throw new VfioError({ code: 'ERR_VFIO_CLOSED', message: 'the DMA memory was disposed of' });
    }
    return this.#handle;
  }

  ref(): void {
    this.#users++;
  }

  /** Undoes one `ref`. Pages that an ArrayBuffer shows stay until that is collected. */
  unref(): void {
    this.#users--;
    if (this.#users > 0 || this.#handle === undefined) return;
    dropped.unregister(this);
    binding().memoryRelease(this.#handle);
    this.#handle = undefined;
  }
}

/** Nobody disposed of the buffer: its pages go with the last ArrayBuffer and the last mapping. */
const dropped = new FinalizationRegistry<NativeMemory>((handle) => {
  binding().memoryRelease(handle);
});

/** What was asked for: sizes in bytes. */
export interface Asked {
  size: number;
  /** The size of a huge page. */
  pageSize?: number | undefined;
}

/**
 * The handle that an allocation answered.
 *
 * @throws VfioError that names the call which failed, and says why where that is about huge pages
 */
export function allocated(answer: Answer, asked: Asked): number {
  try {
    return checkSteps(answer, 'memoryAllocate');
  } catch (error) {
    if (!(error instanceof VfioError)) throw error;
    const cause = hugePageCause(error, asked);
    throw cause ? explained(error, cause) : error;
  }
}
