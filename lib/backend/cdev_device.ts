import { invalidType } from '../core/arguments.ts';
import type { NativeFd } from '../core/binding.ts';
import { check, ioctlOf } from '../core/call.ts';
import { explained, VfioError } from '../core/errors.ts';
import type { Backend, NodeLocation, Roots, SysfsDevice } from '../core/location.ts';
import type { DeviceNode, OwnedFd } from '../core/owned_fd.ts';
import type { Cause } from '../core/reasons.ts';
import { type SharedToken, tokenOf } from '../core/shared_token.ts';
import { call, closing, inOrder, run, runSync, type Steps } from '../core/steps.ts';
import { attachCause } from '../diagnose/map_causes.ts';
import type { RawDeviceInfo } from '../info/read.ts';
import { otherIommufd } from '../iommu/bound_device.ts';
import { Hwpt } from '../iommu/hwpt.ts';
import { Ioas } from '../iommu/ioas.ts';
import type { Iommufd } from '../iommu/iommufd.ts';
import { NestedHwpt } from '../iommu/nested_hwpt.ts';
import { isNoiommu } from '../locate/find_cdev.ts';
import { backendOf } from './kinds.ts';
import type { KvmMember } from './kvm_vfio.ts';
import type { Attachment, OpenedDevice } from './opened.ts';
import { type PasidOptions, pasidOf } from './pasid.ts';

/** What a device can be attached to. */
type Target = Ioas | Hwpt | NestedHwpt;

/**
 * Attaches a device that was opened by its cdev, or one of its process address spaces, to an
 * address space or a page table, and detaches it.
 */
class CdevAttachment implements Attachment {
  readonly #bound: BoundCdev;
  /** By the process address space id; undefined of the requests without one. */
  readonly #targets = new Map<number | undefined, Target>();

  constructor(bound: BoundCdev) {
    this.#bound = bound;
  }

  async attach(target: unknown, options: PasidOptions): Promise<number> {
    return await run(this.#attach(target, options));
  }

  attachSync(target: unknown, options: PasidOptions): number {
    return runSync(this.#attach(target, options));
  }

  async detach(options: PasidOptions): Promise<void> {
    await run(this.#detach(options));
  }

  detachSync(options: PasidOptions): void {
    runSync(this.#detach(options));
  }

  /** The device is closed, which detaches it. */
  forget(): void {
    for (const pasid of [...this.#targets.keys()]) this.#forget(pasid);
  }

  *#attach(given: unknown, options: PasidOptions): Steps<number> {
    const target = this.#targetOf(given);
    const pasid = pasidOf(options);
    const answer = yield* call('attach', this.#bound.fd.native, target.id, pasid);
    const { location } = this.#bound;
    try {
      const pageTable = check(answer, ioctlOf(location, 'VFIO_DEVICE_ATTACH_IOMMUFD_PT'));
      this.#forget(pasid);
      this.#targets.set(pasid, target);
      target.attached(location.device.address);
      return pageTable;
    } catch (error) {
      if (!(error instanceof VfioError)) throw error;
      const cause = attachCause(error, location.device, target.space);
      throw cause ? explained(error, cause) : error;
    }
  }

  *#detach(options: PasidOptions): Steps<void> {
    const pasid = pasidOf(options);
    const answer = yield* call('detach', this.#bound.fd.native, pasid);
    check(answer, ioctlOf(this.#bound.location, 'VFIO_DEVICE_DETACH_IOMMUFD_PT'));
    this.#forget(pasid);
  }

  #forget(pasid: number | undefined): void {
    this.#targets.get(pasid)?.detached(this.#bound.location.device.address);
    this.#targets.delete(pasid);
  }

  /** An id of another iommufd may be one of something else here. */
  #targetOf(target: unknown): Target {
    this.#bound.fd.requireOpen();
    if (!Ioas.isIoas(target) && !Hwpt.isHwpt(target) && !NestedHwpt.isNestedHwpt(target)) {
      throw invalidType('ioas', 'an Ioas, a Hwpt or a NestedHwpt', target);
    }
    const { iommufd, location } = this.#bound;
    if (target.iommufdIdentity === iommufd.identity) return target;
    const named = ioctlOf(location, 'VFIO_DEVICE_ATTACH_IOMMUFD_PT');
    throw otherIommufd(location.device.address, named);
  }
}

/** A device that was opened by its cdev: its descriptor, then the iommufd that it is bound to. */
export class BoundCdev implements OpenedDevice {
  readonly location: NodeLocation;
  readonly roots: Roots;
  readonly fd: OwnedFd;
  readonly rawInfo: RawDeviceInfo;
  readonly #devId: number | undefined;
  readonly iommufd: Iommufd;
  readonly container: undefined;
  readonly backend: Backend;
  readonly attachment: Attachment;
  readonly #ownIommufd: Iommufd | undefined;
  #kvm: KvmMember | undefined;

  /** @param devId - undefined where another program bound the device, and did not tell */
  constructor(
    { location, fd, roots }: DeviceNode,
    rawInfo: RawDeviceInfo,
    devId: number | undefined,
    { iommufd, own }: BindTarget,
    why: string,
  ) {
    this.backend = backendOf(isNoiommu(location) ? 'noiommu' : 'cdev', why);
    this.attachment = new CdevAttachment(this);
    this.location = location;
    this.roots = roots;
    this.fd = fd;
    this.rawInfo = rawInfo;
    this.#devId = devId;
    this.iommufd = iommufd;
    this.#ownIommufd = own;
  }

  get kvmFile(): OwnedFd {
    return this.fd;
  }

  /** The VM that it is removed from before it closes. */
  belongsTo(member: KvmMember | undefined): this {
    this.#kvm = member;
    return this;
  }

  /**
   * The device's id in the iommufd, which cannot be asked of the kernel later.
   *
   * @throws VfioError `ERR_VFIO_NO_DEV_ID`
   */
  get devId(): number {
    if (this.#devId === undefined) throw noDevId(this.location.device);
    return this.#devId;
  }

  get resetScope(): Iommufd {
    return this.iommufd;
  }

  /** The kernel tells devices by their ids, and no groups. */
  hasGroup(): boolean {
    return false;
  }

  groupFds(): NativeFd[] {
    return [];
  }

  share(): SharedToken<'device'> {
    const { fd, devId, location, roots, iommufd } = this;
    // Otherwise it would be its iommufd that is closed.
    fd.requireOpen();
    const content = { devId, location, ...roots, iommufd: iommufd.share() };
    return tokenOf('device', { fd: fd.offer(), ...content });
  }

  createIoas(): Ioas {
    if (this.#ownIommufd) this.fd.requireOpen();
    return this.iommufd.createIoas();
  }

  closesBecause(cause: Cause): void {
    this.fd.closesBecause(cause);
    this.#ownIommufd?.owned.closesBecause(cause);
  }

  async close(): Promise<void> {
    if (this.#kvm) await run(this.#close());
    else await (this.#ownIommufd ? this.fd.closeBefore(this.#ownIommufd.owned) : this.fd.close());
  }

  closeSync(): void {
    runSync(this.#close());
  }

  *#close(): Steps<void> {
    const leaving = this.#kvm ? [this.#kvm.leave()] : [];
    yield* inOrder(...leaving, closing(this.fd), closing(this.#ownIommufd));
  }
}

/** The iommufd to bind to, and the same as `own` where the device is to close it. */
export interface BindTarget {
  iommufd: Iommufd;
  own: Iommufd | undefined;
}

/** Only who bound a device has been told its id. */
function noDevId({ address }: SysfsDevice): VfioError {
  return new VfioError({
    code: 'ERR_VFIO_NO_DEV_ID',
    message: `the id of ${address} in its iommufd is not known, and the kernel tells it only to the program that binds: have it pass its device.devId, and give that to fromFd`,
    device: address,
  });
}
