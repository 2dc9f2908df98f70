import { binding, type NativeMemory } from '../binding.ts';
import { VfioError } from '../errors.ts';

/**
 * Pages of the addon's, for as long as anybody here may want to map or show them: a buffer that was not
 * disposed of, a map that is being made. The addon counts besides who needs the pages there.
 */
export class Memory {
  #handle: NativeMemory | undefined;
  #users = 0;
  readonly size: number;

  constructor(handle: NativeMemory, size: number) {
    this.#handle = handle;
    this.size = size;
    dropped.register(this, handle, this);
  }

  /** For the addon's functions. Throws `ERR_VFIO_CLOSED`. */
  get native(): NativeMemory {
    if (this.#handle === undefined) {
      throw new VfioError({ code: 'ERR_VFIO_CLOSED', message: 'the DMA memory was disposed of' });
    }
    return this.#handle;
  }

  hold(): void {
    this.#users++;
  }

  /** Undoes one `hold`. Pages that an ArrayBuffer shows stay until that is collected. */
  letGo(): void {
    this.#users--;
    if (this.#users > 0 || this.#handle === undefined) return;
    dropped.unregister(this);
    binding().memoryRelease(this.#handle);
    this.#handle = undefined;
  }
}

/** Of a buffer that nobody disposed of: the pages go with the last ArrayBuffer and mapping. */
const dropped = new FinalizationRegistry<NativeMemory>((handle) => {
  binding().memoryRelease(handle);
});
