import type { Answer } from '../core/binding.ts';
import { check } from '../core/call.ts';
import { ENOENT } from '../core/errno.ts';
import { defineInspect } from '../core/inspect_handle.ts';
import { checkIova } from '../core/iova.ts';
import { call, type Steps } from '../core/steps.ts';
import { type BoundDevice, devIdOf } from './bound_device.ts';
import { IommufdObject, type ObjectParent } from './iommufd_object.ts';

/**
 * A device as a guest knows it (IOMMU_VDEVICE_ALLOC): the id that its vIOMMU has it by. Close it
 * before the device: the kernel destroys it with that, and its number is lost then until the
 * iommufd is closed.
 */
export class Vdevice extends IommufdObject {
  readonly #virtId: bigint;

  static {
    defineInspect(this, 'Vdevice', (one) => ({ virtId: one.#virtId, ...one.shown }));
  }

  private constructor(parent: ObjectParent, id: number, virtId: bigint) {
    super(parent, 'vDEVICE', id);
    this.#virtId = virtId;
  }

  /** @internal */
  static *create(
    parent: ObjectParent & { id: number },
    device: BoundDevice,
    virtId: bigint,
  ): Steps<Vdevice> {
    const { fd, iommufdIdentity, id } = parent;
    const named = { syscall: 'ioctl', request: 'IOMMU_VDEVICE_ALLOC', path: fd.path };
    const devId = devIdOf(device, iommufdIdentity, named);
    const virtual = checkIova('virtId', virtId);
    const answer = yield* call('vdeviceAlloc', fd.native, id, devId, virtual);
    return new Vdevice(parent, check(answer, named), virtual);
  }

  /** The vSID of an SMMUv3, the vRID of VT-d, the vDeviceID of an AMD IOMMU. */
  get virtId(): bigint {
    return this.#virtId;
  }

  /** It went with its device, if that was closed before. @internal */
  protected override isGone(answer: Answer): boolean {
    return answer === 0 || answer === ENOENT;
  }
}
