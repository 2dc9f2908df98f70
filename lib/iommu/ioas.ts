import { binding, type NativeFd } from '../binding.ts';
import { check } from '../call.ts';
import { VfioError } from '../errors.ts';
import type { OwnedFd } from '../owned_fd.ts';

/** An I/O address space: what the devices attached to it can reach by DMA, and where. */
export class Ioas {
  readonly #iommufd: OwnedFd;
  readonly #id: number;
  #closed = false;

  private constructor(iommufd: OwnedFd, id: number) {
    this.#iommufd = iommufd;
    this.#id = id;
  }

  /** @internal */
  static adopt(iommufd: OwnedFd, id: number): Ioas {
    return new Ioas(iommufd, id);
  }

  /**
   * Its id in the iommufd.
   *
   * @throws VfioError `ERR_VFIO_CLOSED`
   */
  get id(): number {
    if (this.#closed || this.#iommufd.closed) {
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

  #take(): NativeFd | undefined {
    if (this.#closed) return undefined;
    this.#closed = true;
    // The id went with the iommufd.
    return this.#iommufd.closed ? undefined : this.#iommufd.native;
  }

  #settle(answer: number | undefined): void {
    this.#closed = answer === 0;
    check(answer, { syscall: 'ioctl', request: 'IOMMU_DESTROY', path: this.#iommufd.path });
  }
}
