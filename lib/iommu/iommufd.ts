import { requireObject } from '../arguments.ts';
import { binding } from '../binding.ts';
import { check } from '../call.ts';
import { callerPlace } from '../caller.ts';
import { explainSync } from '../diagnose/explain.ts';
import { defineInspect } from '../inspect_handle.ts';
import { rootsOf, type RootOptions, type Roots } from '../locate/roots.ts';
import { OwnedFd } from '../owned_fd.ts';
import { Ioas } from './ioas.ts';

/** An open `/dev/iommu`: the space in which devices and their address spaces have ids. */
export class Iommufd {
  readonly #fd: OwnedFd;

  static {
    defineInspect(this, 'Iommufd', (iommufd) => {
      const { path, closed } = iommufd.#fd;
      return { path, state: closed ? 'closed' : 'open' };
    });
  }

  private constructor(fd: OwnedFd) {
    this.#fd = fd;
  }

  /**
   * Opens `/dev/iommu`, or `iommu` in the folder that `devRoot` names. Does not block.
   *
   * @throws TypeError for `options` that are no object, for roots that are no absolute paths
   * @throws VfioError `ENOENT` (the kernel has no iommufd, or its module is not loaded), `EACCES`
   */
  static open(options: RootOptions = {}): Iommufd {
    const place = callerPlace();
    requireObject('options', options);
    return new Iommufd(openNode(rootsOf(options)).openedAt(place));
  }

  /** One that a device opens for itself, and closes. @internal */
  static openFor(roots: Roots): Iommufd {
    return new Iommufd(openNode(roots).asPart());
  }

  /** Whether it is one, and not only called so. @internal */
  static isIommufd(value: unknown): value is Iommufd {
    return typeof value === 'object' && value !== null && #fd in value;
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

function openNode(roots: Roots): OwnedFd {
  try {
    return OwnedFd.open(`${roots.devRoot}/iommu`, 'the iommufd');
  } catch (error) {
    throw explainSync(error, () => ({ roots }));
  }
}
