import { invalidType } from '../arguments.ts';
import type { Attachment } from '../device/opened.ts';
import { explained } from '../diagnose/explained.ts';
import { VfioError } from '../errors.ts';
import type { ContainerSpace } from '../iommu/container_space.ts';
import { Hwpt } from '../iommu/hwpt.ts';
import { Ioas } from '../iommu/ioas.ts';
import { isAddressSpace } from '../iommu/spaces.ts';
import type { NodeLocation } from '../locate/find_cdev.ts';

/**
 * Of a device that was opened by its group: it is attached to its container's address space, and to no
 * other, as long as it is open.
 */
export class JoinedAttachment implements Attachment {
  readonly #location: NodeLocation;
  readonly #isOwn: (target: Ioas | ContainerSpace) => boolean;

  constructor(location: NodeLocation, isOwn: (target: Ioas | ContainerSpace) => boolean) {
    this.#location = location;
    this.#isOwn = isOwn;
  }

  attach(target: unknown): Promise<number> {
    return Promise.resolve(this.attachSync(target));
  }

  /** It is attached there already. */
  attachSync(target: unknown): number {
    if (Hwpt.isHwpt(target)) throw this.#wrongBackend('cannot be attached to a page table');
    if (!isAddressSpace(target)) {
      throw invalidType('ioas', 'an address space', target);
    }
    if (this.#isOwn(target)) return Ioas.isIoas(target) ? target.id : 0;
    const facts = { device: this.#location.device.address };
    const error = this.#wrongBackend('is attached to the address space of its own container');
    throw explained(error, { reason: 'other-container', certainty: 'certain', facts });
  }

  detach(): Promise<void> {
    return Promise.reject(this.#detachError());
  }

  detachSync(): void {
    throw this.#detachError();
  }

  forget(): void {
    // What a container has is closed with it.
  }

  #detachError(): VfioError {
    return this.#wrongBackend('is attached to its container as long as it is open');
  }

  #wrongBackend(what: string): VfioError {
    const { device, path } = this.#location;
    return new VfioError({
      code: 'ERR_VFIO_WRONG_BACKEND',
      message: `${device.address} was opened by its group (${path}): it ${what}`,
      path,
      device: device.address,
    });
  }
}
