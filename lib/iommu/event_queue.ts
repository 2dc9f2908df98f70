import { checkSignal, requireObject } from '../core/arguments.ts';
import type { Answer, NativeFd } from '../core/binding.ts';
import { fs } from '../core/builtins.ts';
import { Closable } from '../core/closable.ts';
import { EINVAL } from '../core/errno.ts';
import { OwnedFd } from '../core/owned_fd.ts';
import { readable, Readiness } from '../core/readiness.ts';
import { call, closing, run, runSync, type Steps } from '../core/steps.ts';

/** How to wait for what comes. */
export interface FaultOptions {
  /** Aborting throws the signal's reason. */
  signal?: AbortSignal | undefined;
}

/** Beyond this, what does not fit is an error of the kernel's. */
const mostBytes = 1 << 20;

/**
 * What the kernel tells through a descriptor of its own, read by the event loop: a queue in an
 * iommufd, which has an id there.
 */
export abstract class EventQueue<Item> extends Closable {
  readonly #iommufd: OwnedFd;
  readonly #fd: OwnedFd;
  readonly #id: number;
  readonly #what: string;
  readonly #readiness: Readiness;
  /** Settles when it is closed. */
  #closed: Promise<void> | undefined;

  /** @internal */
  protected constructor(iommufd: OwnedFd, fd: NativeFd, id: number, what: string) {
    super();
    this.#iommufd = iommufd;
    this.#fd = OwnedFd.adopt(fd, what, iommufd.path);
    this.#id = id;
    this.#what = what;
    this.#readiness = new Readiness(this.#fd);
  }

  /** Its id in the iommufd. */
  get id(): number {
    return this.#id;
  }

  /**
   * The descriptor's number, readable when there is something. The queue stays its owner.
   *
   * @throws VfioError `ERR_VFIO_CLOSED`
   */
  get fd(): number {
    return this.#fd.number;
  }

  /**
   * What has come; does not wait for anything.
   *
   * @throws VfioError `ERR_VFIO_CLOSED`
   */
  abstract read(): Item[];

  /**
   * Resolves when `read()` has something; the event loop polls the queue, and is kept alive
   * meanwhile.
   *
   * @throws TypeError; VfioError `ERR_VFIO_CLOSED`, also where it is closed meanwhile
   * @throws the signal's reason
   */
  async wait(options: FaultOptions = {}): Promise<void> {
    await this.#readiness.wait(readable, signalOf(options));
  }

  /**
   * All that {@link read} answers, each time; over when the queue is closed.
   *
   * @throws what `read` throws, into the loop
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<Item[]> {
    return this.iterate({});
  }

  /**
   * Closes the queue and destroys it (IOMMU_DESTROY), where nothing uses it any more. Closing twice
   * is harmless.
   *
   * @throws VfioError what the kernel answers to destroying it; the descriptor is closed all the
   *   same
   */
  close(): Promise<void> {
    this.#closed ??= run(this.#close());
    return this.#closed;
  }

  /** The blocking form of {@link close}. */
  closeSync(): void {
    if (this.#closed) return;
    this.#closed = Promise.resolve();
    runSync(this.#close());
  }

  /** @internal */
  protected iterate(options: FaultOptions): AsyncIterableIterator<Item[]> {
    return this.#items(signalOf(options));
  }

  /**
   * What one read takes: as much as there is, and so much at least that the first of it fits.
   * @internal
   */
  protected readBytes(length: number): Uint8Array {
    for (let room = length; ; room *= 4) {
      const bytes = new Uint8Array(room);
      try {
        return bytes.subarray(0, fs.readSync(this.#fd.number, bytes));
      } catch (error) {
        const { errno } = error as NodeJS.ErrnoException;
        if (errno !== EINVAL || room >= mostBytes) throw error;
      }
    }
  }

  /** @internal */
  protected writeBytes(bytes: Uint8Array): void {
    fs.writeSync(this.#fd.number, bytes);
  }

  /** What the kernel said to destroying it. @internal */
  protected abstract destroyed(answer: Answer): void;

  /** What `inspect` shows. @internal */
  protected get shown(): object {
    return { id: this.#id, state: this.#fd.closed ? 'closed' : 'open' };
  }

  *#close(): Steps<void> {
    this.#readiness.end(this.#what);
    yield* closing(this.#fd);
    if (this.#iommufd.closed) return;
    this.destroyed(yield* call('destroy', this.#iommufd.native, this.#id));
  }

  async *#items(signal: AbortSignal | undefined): AsyncGenerator<Item[], undefined> {
    const isOpen = (): boolean => !this.#fd.closed;
    while (isOpen()) {
      try {
        await this.#readiness.wait(readable, signal);
      } catch (error) {
        if (isOpen()) throw error;
        return;
      }
      // Another thread may have been faster.
      const items = this.read();
      if (items.length > 0) yield items;
    }
  }
}

function signalOf(options: FaultOptions): AbortSignal | undefined {
  requireObject('options', options);
  const { signal } = options;
  checkSignal(signal);
  return signal;
}
