import { invalidType } from '../arguments.ts';
import { binding, type Answer } from '../binding.ts';
import { check } from '../call.ts';
import { explained } from '../diagnose/explained.ts';
import { attachCause } from '../diagnose/map_causes.ts';
import { VfioError } from '../errors.ts';
import { otherIommufd } from '../iommu/bound_device.ts';
import { Hwpt } from '../iommu/hwpt.ts';
import { Ioas } from '../iommu/ioas.ts';
import type { BoundCdev } from './bind.ts';
import { ioctlOf, type Attachment } from './opened.ts';

/** Of a device that was opened by its cdev, which is attached and detached at will. */
export class CdevAttachment implements Attachment {
  readonly #bound: BoundCdev;
  #target: Ioas | Hwpt | undefined;

  constructor(bound: BoundCdev) {
    this.#bound = bound;
  }

  async attach(target: unknown): Promise<number> {
    const found = this.#targetOf(target);
    return this.#attached(await binding().attach(this.#bound.fd.native, found.id), found);
  }

  attachSync(target: unknown): number {
    const found = this.#targetOf(target);
    return this.#attached(binding().attachSync(this.#bound.fd.native, found.id), found);
  }

  async detach(): Promise<void> {
    this.#detached(await binding().detach(this.#bound.fd.native));
  }

  detachSync(): void {
    this.#detached(binding().detachSync(this.#bound.fd.native));
  }

  /** The device is closed, which detaches it. */
  forget(): void {
    this.#target?.detached(this.#bound.location.device.address);
    this.#target = undefined;
  }

  #attached(answer: Answer, target: Ioas | Hwpt): number {
    const { location } = this.#bound;
    try {
      const pageTable = check(answer, ioctlOf(location, 'VFIO_DEVICE_ATTACH_IOMMUFD_PT'));
      this.forget();
      this.#target = target;
      target.attached(location.device.address);
      return pageTable;
    } catch (error) {
      if (!(error instanceof VfioError)) throw error;
      const cause = attachCause(error, location.device, ioasOf(target).space);
      throw cause ? explained(error, cause) : error;
    }
  }

  #detached(answer: Answer): void {
    check(answer, ioctlOf(this.#bound.location, 'VFIO_DEVICE_DETACH_IOMMUFD_PT'));
    this.forget();
  }

  /** An id of another iommufd may be one of something else here. */
  #targetOf(target: unknown): Ioas | Hwpt {
    if (!Ioas.isIoas(target) && !Hwpt.isHwpt(target)) {
      throw invalidType('ioas', 'an Ioas or a Hwpt', target);
    }
    const { iommufd, location } = this.#bound;
    if (ioasOf(target).context === iommufd.context) return target;
    const call = ioctlOf(location, 'VFIO_DEVICE_ATTACH_IOMMUFD_PT');
    throw otherIommufd(location.device.address, call);
  }
}

function ioasOf(target: Ioas | Hwpt): Ioas {
  return Ioas.isIoas(target) ? target : target.ioas;
}
