import { invalidType } from '../core/arguments.ts';
import type { NativeFd } from '../core/binding.ts';
import { explained, VfioError } from '../core/errors.ts';
import type { Backend, NodeLocation, Roots } from '../core/location.ts';
import type { DeviceNode, OwnedFd } from '../core/owned_fd.ts';
import type { Cause } from '../core/reasons.ts';
import { type SharedToken, tokenOf } from '../core/shared_token.ts';
import { closing, inOrder, run, runSync, type Steps } from '../core/steps.ts';
import type { RawDeviceInfo } from '../info/read.ts';
import { AddressSpace } from '../iommu/address_space.ts';
import { Hwpt } from '../iommu/hwpt.ts';
import { NestedHwpt } from '../iommu/nested_hwpt.ts';
import { Ioas } from '../iommu/ioas.ts';
import type { Iommufd } from '../iommu/iommufd.ts';
import type { Container } from './container.ts';
import type { GroupContainer } from './group_container.ts';
import type { Groups, JoinedGroup } from './groups.ts';
import type { Attachment, OpenedDevice } from './opened.ts';
import { type PasidOptions, pasidOf } from './pasid.ts';

/** A device that was opened by its group: its descriptor, then the group, then the container. */
export class GroupDevice implements OpenedDevice {
  readonly location: NodeLocation;
  readonly roots: Roots;
  readonly fd: OwnedFd;
  readonly backend: Backend;
  readonly rawInfo: RawDeviceInfo;
  /** The kernel does not tell it. */
  readonly devId: undefined;
  readonly attachment: Attachment;
  readonly #groupContainer: GroupContainer;
  readonly #group: JoinedGroup;
  #left = false;

  /** `node`: the device's own descriptor, and the group's location. */
  constructor(
    { location, fd, roots }: DeviceNode,
    rawInfo: RawDeviceInfo,
    group: JoinedGroup,
    groupContainer: GroupContainer,
    backend: Backend,
  ) {
    this.location = location;
    this.roots = roots;
    this.fd = fd;
    this.backend = backend;
    this.rawInfo = rawInfo;
    this.#group = group;
    this.#groupContainer = groupContainer;
    this.attachment = new JoinedAttachment({ location, fd }, (target) =>
      groupContainer.isOwn(target),
    );
  }

  get kvmFile(): OwnedFd {
    return this.#group.node.fd;
  }

  get iommufd(): Iommufd | undefined {
    return this.#groupContainer.iommufd;
  }

  get container(): Container | undefined {
    return this.#groupContainer.container;
  }

  get resetScope(): Groups {
    return this.#groupContainer.groups;
  }

  hasGroup(group: number): boolean {
    return this.resetScope.fdOf(group) !== undefined;
  }

  groupFds(groups: readonly number[]): NativeFd[] {
    return groups.flatMap((group) => this.resetScope.fdOf(group) ?? []);
  }

  share(): SharedToken<'group-device'> {
    const { fd, location, roots, backend } = this;
    const { fd: groupFd, location: group } = this.#group.node;
    return tokenOf('group-device', {
      fd: fd.offer(),
      ...{ location, ...roots, backend },
      group: { fd: groupFd.offer(), location: group },
      groupContainer: this.#groupContainer.share(),
    });
  }

  createIoas(): AddressSpace {
    if (this.#groupContainer.own) this.fd.requireOpen();
    return this.#groupContainer.createIoas();
  }

  closesBecause(cause: Cause): void {
    this.fd.closesBecause(cause);
    this.#groupContainer.own?.owned.closesBecause(cause);
  }

  close(): Promise<void> {
    return run(this.#close());
  }

  closeSync(): void {
    runSync(this.#close());
  }

  *#close(): Steps<void> {
    yield* inOrder(closing(this.fd), this.#leave(), closing(this.#groupContainer.own));
  }

  /** Once. */
  *#leave(): Steps<void> {
    if (this.#left) return;
    this.#left = true;
    yield* this.resetScope.leave(this.#group);
  }
}

/**
 * Stands for how a device that was opened by its group is attached: to its container's address
 * space, and to no other, as long as it is open.
 */
class JoinedAttachment implements Attachment {
  readonly #location: NodeLocation;
  readonly #fd: OwnedFd;
  readonly #isOwn: (target: AddressSpace) => boolean;

  constructor(
    { location, fd }: { location: NodeLocation; fd: OwnedFd },
    isOwn: (target: AddressSpace) => boolean,
  ) {
    this.#location = location;
    this.#fd = fd;
    this.#isOwn = isOwn;
  }

  attach(target: unknown, options: PasidOptions): Promise<number> {
    return Promise.resolve(this.attachSync(target, options));
  }

  /** It is attached there already. */
  attachSync(target: unknown, options: PasidOptions): number {
    this.#fd.requireOpen();
    const pasid = pasidOf(options);
    const isPageTable = Hwpt.isHwpt(target) || NestedHwpt.isNestedHwpt(target);
    if (isPageTable) throw this.#wrongBackend('cannot be attached to a page table');
    if (!AddressSpace.isAddressSpace(target)) {
      throw invalidType('ioas', 'an address space', target);
    }
    if (pasid !== undefined) throw this.#wrongBackend('has no process address spaces');
    if (this.#isOwn(target)) return Ioas.isIoas(target) ? target.id : 0;
    const facts = { device: this.#location.device.address };
    const error = this.#wrongBackend('is attached to the address space of its own container');
    throw explained(error, { reason: 'other-container', certainty: 'certain', facts });
  }

  detach(options: PasidOptions): Promise<void> {
    return Promise.reject(this.#detachError(options));
  }

  detachSync(options: PasidOptions): void {
    throw this.#detachError(options);
  }

  forget(): void {
    // What a container has is closed with it.
  }

  #detachError(options: PasidOptions): VfioError {
    pasidOf(options);
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
