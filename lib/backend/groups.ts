import { binding, type NativeFd } from '../core/binding.ts';
import { check, ioctlOf } from '../core/call.ts';
import { VfioError } from '../core/errors.ts';
import type { GroupLocation } from '../core/location.ts';
import type { DeviceNode, OwnedFd } from '../core/owned_fd.ts';
import {
  call,
  closing,
  either,
  inOrder,
  Mutex,
  run,
  runSync,
  type Steps,
  undoing,
} from '../core/steps.ts';
import { warn } from '../core/warnings.ts';
import type { KvmMember, KvmVfio } from './kvm_vfio.ts';

const VFIO_GROUP_FLAGS_VIABLE = 1;

/** A group's node: the kernel opens it once, so it is shared by all devices of the group. */
export type GroupNode = DeviceNode<GroupLocation>;

/** A group in a container, and how many of its devices are open. */
export interface JoinedGroup {
  readonly node: GroupNode;
  users: number;
  /** The VMs that have it. */
  readonly vms: Map<KvmVfio, KvmMember>;
}

/** What a container does with its groups. */
export interface GroupHooks {
  /** The first group is there. */
  first?: (location: GroupLocation) => Steps<void>;
  /** The last one leaves. */
  last?: () => void;
}

/** The groups in one container, or in the iommufd that serves as one. */
export class Groups {
  readonly #container: OwnedFd;
  readonly #hooks: GroupHooks;
  readonly #joined = new Map<number, JoinedGroup>();
  /**
   * Whether the kernel's container has an IOMMU depends on which groups are there when it is asked.
   */
  readonly #mutex = new Mutex();

  constructor(container: OwnedFd, hooks: GroupHooks) {
    this.#container = container;
    this.#hooks = hooks;
  }

  get empty(): boolean {
    return this.#joined.size === 0;
  }

  /** The descriptor of a group that is here. */
  fdOf(group: number): NativeFd | undefined {
    return this.#joined.get(group)?.node.fd.native;
  }

  /**
   * Counts one more device of the group, whose node is opened where it is not here yet. `kvm` is
   * told of it before its device is opened, which is when the driver learns of the VM.
   *
   * @throws VfioError `ERR_VFIO_BUSY` of the blocking form, while another joins
   */
  join(group: number, openNode: () => Steps<GroupNode>, kvm?: KvmVfio): Steps<JoinedGroup> {
    return this.#mutex.take(() => this.#joinFor(kvm, group, openNode), busy);
  }

  /** Counts a group that another thread put into the same container. */
  adopt(node: GroupNode): JoinedGroup {
    return this.#add(node);
  }

  /**
   * One device less; with its last, the group goes. The blocking form leaves that to others that
   * join.
   */
  leave(group: JoinedGroup): Steps<void> {
    const inTurn = (): Promise<void> => this.#mutex.run(() => run(this.#leave(group)));
    return either(inTurn, () => {
      if (this.#mutex.busy) inTurn().catch(warn);
      else runSync(this.#leave(group));
    });
  }

  *#joinFor(
    kvm: KvmVfio | undefined,
    group: number,
    openNode: () => Steps<GroupNode>,
  ): Steps<JoinedGroup> {
    const joined = yield* this.#join(group, openNode);
    if (kvm === undefined || joined.vms.has(kvm)) return joined;
    const member = yield* undoing(kvm.join(joined.node.fd), this.#leave(joined));
    joined.vms.set(kvm, member);
    return joined;
  }

  *#join(group: number, openNode: () => Steps<GroupNode>): Steps<JoinedGroup> {
    const known = this.#again(group);
    if (known) return known;
    const node = yield* openNode();
    yield* undoing(this.#put(node), closing(node.fd));
    return this.#add(node);
  }

  *#leave(group: JoinedGroup): Steps<void> {
    if (!this.#isLast(group)) return;
    try {
      const leaving = [...group.vms.values()].map((member) => member.leave());
      yield* inOrder(...leaving, closing(group.node.fd));
    } finally {
      if (this.empty) this.#hooks.last?.();
    }
  }

  #again(group: number): JoinedGroup | undefined {
    const known = this.#joined.get(group);
    if (known) known.users++;
    return known;
  }

  #add(node: GroupNode): JoinedGroup {
    node.fd.asPart();
    const group = { node, users: 1, vms: new Map() };
    this.#joined.set(node.location.group, group);
    return group;
  }

  #isLast(group: JoinedGroup): boolean {
    group.users--;
    if (group.users > 0) return false;
    this.#joined.delete(group.node.location.group);
    return true;
  }

  *#put({ location, fd }: GroupNode): Steps<void> {
    checkViable(location, fd);
    const answer = yield* call('groupSetContainer', fd.native, this.#container.native);
    check(answer, ioctlOf(location, 'VFIO_GROUP_SET_CONTAINER'));
    const { first } = this.#hooks;
    if (this.empty && first) yield* first(location);
  }
}

function busy(): VfioError {
  const message = 'a device is being opened in the same container; await that first';
  return new VfioError({ code: 'ERR_VFIO_BUSY', message });
}

function checkViable(location: GroupLocation, fd: OwnedFd): void {
  const answer = binding().groupStatus(fd.native);
  const flags = check(answer, ioctlOf(location, 'VFIO_GROUP_GET_STATUS'));
  if ((flags & VFIO_GROUP_FLAGS_VIABLE) !== 0) return;
  const { path, device, group } = location;
  throw new VfioError({
    code: 'ERR_VFIO_GROUP_NOT_VIABLE',
    message: `IOMMU group ${group} of ${device.address} cannot be given away`,
    path,
    device: device.address,
  });
}
