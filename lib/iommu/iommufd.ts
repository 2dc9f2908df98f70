import { binding } from '../binding.ts';
import { check } from '../call.ts';
import { explainSync } from '../diagnose/explain.ts';
import { rootsOf, type RootOptions } from '../locate/roots.ts';
import { OwnedFd } from '../owned_fd.ts';
import { Ioas } from './ioas.ts';

/** An open `/dev/iommu`: the space in which devices and their address spaces have ids. */
export class Iommufd {
  readonly #fd: OwnedFd;

  private constructor(fd: OwnedFd) {
    this.#fd = fd;
  }

  /**
   * Opens `/dev/iommu`, or `iommu` in the folder that `devRoot` names. Does not block.
   *
   * @throws TypeError for roots that are no absolute paths
   * @throws VfioError `ENOENT` (the kernel has no iommufd, or its module is not loaded), `EACCES`
   */
  static open(options: RootOptions = {}): Iommufd {
    const roots = rootsOf(options);
    try {
      return new Iommufd(OwnedFd.open(`${roots.devRoot}/iommu`, 'the iommufd'));
    } catch (error) {
      throw explainSync(error, () => ({ roots }));
    }
  }

  /** The descriptor's number, for reading. The Iommufd stays its owner. */
  get fd(): number {
    return this.#fd.number;
  }

  /** @internal */
  get owned(): OwnedFd {
    return this.#fd;
  }

  /**
   * Makes an empty I/O address space (IOMMU_IOAS_ALLOC). Does not block.
   *
   * @throws VfioError `ERR_VFIO_CLOSED`, `ENOMEM`
   */
  createIoas(): Ioas {
    const call = { syscall: 'ioctl', request: 'IOMMU_IOAS_ALLOC', path: this.#fd.path };
    return Ioas.adopt(this.#fd, check(binding().ioasAlloc(this.#fd.native), call));
  }

  /**
   * Closes the descriptor, and with it every address space that no open device still uses. Closing
   * twice is harmless.
   */
  close(): Promise<void> {
    return this.#fd.close();
  }

  /** As {@link close}, blocking. */
  closeSync(): void {
    this.#fd.closeSync();
  }

  [Symbol.dispose](): void {
    this.closeSync();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
