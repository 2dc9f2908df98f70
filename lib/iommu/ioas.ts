import { binding, type NativeFd } from '../binding.ts';
import { check } from '../call.ts';
import { VfioError } from '../errors.ts';
import { defineInspect } from '../inspect_handle.ts';
import type { OwnedFd } from '../owned_fd.ts';

/** An I/O address space: what the devices attached to it can reach by DMA, and where. */
export class Ioas {
  readonly #iommufd: OwnedFd;
  readonly #id: number;
  #closed = false;

  static {
    defineInspect(this, 'Ioas', (ioas) => {
      const state = ioas.#isClosed() ? 'closed' : 'open';
      return { id: ioas.#id, iommufd: ioas.#iommufd.path, state };
    });
  }

  private constructor(iommufd: OwnedFd, id: number) {
    this.#iommufd = iommufd;
    this.#id = id;
  }

  /** @internal */
  static adopt(iommufd: OwnedFd, id: number): Ioas {
    return new Ioas(iommufd, id);
  }

  /** Whether it is one, and not only called so. @internal */
  static isIoas(value: unknown): value is Ioas {
    return typeof value === 'object' && value !== null && #id in value;
  }

  /**
   * Its id in the iommufd.
   *
   * @throws VfioError `ERR_VFIO_CLOSED`
   */
  get id(): number {
    if (this.#isClosed()) {
      throw new VfioError({ code: 'ERR_VFIO_CLOSED', message: `IOAS ${this.#id} is closed` });
    }
    return this.#id;
  }

  /**
   * Destroys the address space and unmaps all that is in it (IOMMU_DESTROY). Closing twice, or after
   * the iommufd, is harmless.
   *
   * @throws VfioError `EBUSY` while a device is attached to it; it stays open then
   */
  async close(): Promise<void> {
    const iommufd = this.#take();
    if (iommufd) this.#settle(await binding().destroy(iommufd, this.#id));
  }

  /** As {@link close}, blocking. */
  closeSync(): void {
    const iommufd = this.#take();
    if (iommufd) this.#settle(binding().destroySync(iommufd, this.#id));
  }

  [Symbol.dispose](): void {
    this.closeSync();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** The id went with the iommufd. */
  #isClosed(): boolean {
    return this.#closed || this.#iommufd.closed;
  }

  #take(): NativeFd | undefined {
    if (this.#isClosed()) return undefined;
    this.#closed = true;
    return this.#iommufd.native;
  }

  #settle(answer: number | undefined): void {
    this.#closed = answer === 0;
    check(answer, { syscall: 'ioctl', request: 'IOMMU_DESTROY', path: this.#iommufd.path });
  }
}
