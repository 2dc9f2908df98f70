import { requireBoolean, requireObject } from '../core/arguments.ts';
import { check } from '../core/call.ts';
import { defineInspect } from '../core/inspect_handle.ts';
import type { OwnedFd } from '../core/owned_fd.ts';
import { call, run, runSync, type Steps } from '../core/steps.ts';
import type { AttachedSpace } from '../diagnose/map_causes.ts';
import type { AddressSpace } from './address_space.ts';
import { type BoundDevice, devIdOf } from './bound_device.ts';
import { checkFaultQueue, type FaultQueue } from './fault_queue.ts';
import { encodeHwptData, type EncodedData, type HwptData } from './hwpt_data.ts';
import { IommufdObject, type ObjectParent } from './iommufd_object.ts';
import { type Invalidation, invalidate } from './invalidation.ts';

/** What a nested page table can do besides. */
export interface NestedHwptOptions {
  /** Where page faults go (IOMMU_HWPT_FAULT_ID_VALID). */
  faultQueue?: FaultQueue | undefined;
  /** Whether it can be attached to a PASID (IOMMU_HWPT_ALLOC_PASID). */
  pasid?: boolean | undefined;
}

/** enum iommufd_hwpt_alloc_flags */
export const hwptFlags = { nestParent: 1, dirtyTracking: 2, faultId: 4, pasid: 8 } as const;

/** What it is made of: a nesting parent, or a vIOMMU over one. */
export interface NestingParent extends ObjectParent {
  /** The id of the parent or the vIOMMU. */
  id: number;
  /** Whose maps the lower half has. */
  ioas: LowerSpace;
}

/** An {@link Ioas}, as a page table knows it that devices are attached to. */
export interface LowerSpace extends AddressSpace {
  readonly space: AttachedSpace;
  attached(device: string): void;
  detached(device: string): void;
}

/** What IOMMU_HWPT_ALLOC is asked for. */
export interface HwptRequest {
  device: number;
  /** The id of what it is made of. */
  of: number;
  flags: number;
  faultQueue: FaultQueue | undefined;
  data: EncodedData;
}

/** Answers the id. */
export function* allocateHwpt(iommufd: OwnedFd, request: HwptRequest): Steps<number> {
  const { device, of, flags, faultQueue, data } = request;
  const answer = yield* call(
    'hwptAlloc',
    iommufd.native,
    device,
    of,
    flags,
    faultQueue?.id ?? 0,
    data.type,
    data.bytes,
  );
  return check(answer, { syscall: 'ioctl', request: 'IOMMU_HWPT_ALLOC', path: iommufd.path });
}

/**
 * A page table of the hardware whose upper half a guest has in its own memory, as the data say;
 * what that translates to is looked up in the nesting parent. `device.attach` attaches to it.
 */
export class NestedHwpt extends IommufdObject {
  readonly #parent: NestingParent;

  static {
    defineInspect(this, 'NestedHwpt', (hwpt) => ({ of: hwpt.#parent.id, ...hwpt.shown }));
  }

  private constructor(parent: NestingParent, id: number) {
    super(parent, 'HWPT', id);
    this.#parent = parent;
  }

  /** @internal */
  static *create(
    parent: NestingParent,
    device: BoundDevice,
    data: HwptData,
    options: NestedHwptOptions,
  ): Steps<NestedHwpt> {
    const { fd, iommufdIdentity, id } = parent;
    const named = { syscall: 'ioctl', request: 'IOMMU_HWPT_ALLOC', path: fd.path };
    const devId = devIdOf(device, iommufdIdentity, named);
    const encoded = encodeHwptData(data);
    requireObject('options', options);
    const { faultQueue, pasid = false } = options;
    checkFaultQueue(faultQueue);
    requireBoolean('pasid', pasid);
    const flags = (faultQueue ? hwptFlags.faultId : 0) | (pasid ? hwptFlags.pasid : 0);
    const request = { device: devId, of: id, flags, faultQueue, data: encoded };
    return new NestedHwpt(parent, yield* allocateHwpt(fd, request));
  }

  /** Whether it is one, and not only called so. @internal */
  static isNestedHwpt(value: unknown): value is NestedHwpt {
    return typeof value === 'object' && value !== null && #parent in value;
  }

  /** The address space whose maps its parent has. */
  get ioas(): AddressSpace {
    return this.#parent.ioas;
  }

  /**
   * Has the hardware forget what it keeps of the guest's page table, after that was changed
   * (IOMMU_HWPT_INVALIDATE). No entries ask whether the kernel takes that type.
   *
   * @returns how many entries were handled, which is all of them
   * @throws TypeError, RangeError
   * @throws VfioError with the reason `invalidated-in-part`, whose `facts.handled` says how many
   *   entries were handled before the one that failed; `ERR_VFIO_CLOSED`
   */
  async invalidate(invalidation: Invalidation): Promise<number> {
    return await run(invalidate(this.iommufd, this.id, invalidation));
  }

  /** The blocking form of {@link invalidate}. */
  invalidateSync(invalidation: Invalidation): number {
    return runSync(invalidate(this.iommufd, this.id, invalidation));
  }

  /** For the reason why a device was not attached. @internal */
  get space(): AttachedSpace {
    return this.#parent.ioas.space;
  }

  /** A device was attached to it, and so to the address space below. @internal */
  attached(device: string): void {
    this.users.attach(device);
    this.#parent.ioas.attached(device);
  }

  /** @internal */
  detached(device: string): void {
    this.users.detach(device);
    this.#parent.ioas.detached(device);
  }
}
