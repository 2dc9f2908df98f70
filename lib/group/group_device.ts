import type { NativeFd } from '../binding.ts';
import type { Backend } from '../device/backend.ts';
import type { DeviceNode } from '../device/node.ts';
import type { Attachment, OpenedDevice } from '../device/opened.ts';
import type { AddressSpace } from '../iommu/address_space.ts';
import type { Iommufd } from '../iommu/iommufd.ts';
import type { NodeLocation } from '../locate/find_cdev.ts';
import type { Roots } from '../locate/roots.ts';
import type { OwnedFd } from '../owned_fd.ts';
import type { Cause } from '../reasons.ts';
import { tokenOf, type SharedToken } from '../shared_token.ts';
import type { Container } from './container.ts';
import type { Groups, JoinedGroup } from './groups.ts';
import { JoinedAttachment } from './joined_attachment.ts';
import type { Host } from './host.ts';

/** A device that was opened by its group: its descriptor, then the group, then the container. */
export class GroupDevice implements OpenedDevice {
  readonly location: NodeLocation;
  readonly roots: Roots;
  readonly fd: OwnedFd;
  readonly backend: Backend;
  /** The kernel does not tell it. */
  readonly devId: undefined;
  readonly attachment: Attachment;
  readonly #host: Host;
  readonly #group: JoinedGroup;
  #left = false;

  /** `node`: the device's own descriptor, and the group's location. */
  constructor(
    { location, fd, roots }: DeviceNode,
    group: JoinedGroup,
    host: Host,
    backend: Backend,
  ) {
    this.location = location;
    this.roots = roots;
    this.fd = fd;
    this.backend = backend;
    this.#group = group;
    this.#host = host;
    this.attachment = new JoinedAttachment(location, (target) => host.isOwn(target));
  }

  get iommufd(): Iommufd | undefined {
    return this.#host.iommufd;
  }

  get container(): Container | undefined {
    return this.#host.container;
  }

  get context(): Groups {
    return this.#host.groups;
  }

  hasGroup(group: number): boolean {
    return this.context.fdOf(group) !== undefined;
  }

  groupFds(groups: readonly number[]): NativeFd[] {
    return groups.flatMap((group) => this.context.fdOf(group) ?? []);
  }

  share(): SharedToken<'group-device'> {
    const { fd, location, roots, backend } = this;
    const { fd: groupFd, location: group } = this.#group.node;
    return tokenOf('group-device', {
      fd: fd.offer(),
      ...{ location, ...roots, backend },
      group: { fd: groupFd.offer(), location: group },
      host: this.#host.share(),
    });
  }

  createIoas(): AddressSpace {
    return this.#host.createIoas();
  }

  closesBecause(cause: Cause): void {
    this.fd.closesBecause(cause);
    this.#host.own?.owned.closesBecause(cause);
  }

  async close(): Promise<void> {
    try {
      await this.fd.close();
      if (this.#leaves()) await this.context.leave(this.#group);
    } finally {
      await this.#host.own?.close();
    }
  }

  closeSync(): void {
    try {
      this.fd.closeSync();
      if (this.#leaves()) this.context.leaveSync(this.#group);
    } finally {
      this.#host.own?.closeSync();
    }
  }

  /** Once. */
  #leaves(): boolean {
    const leaves = !this.#left;
    this.#left = true;
    return leaves;
  }
}
