import type { NativeFd } from '../core/binding.ts';
import { check, ioctlOf } from '../core/call.ts';
import type { BackendKind, DeviceSpec, GroupLocation, Roots } from '../core/location.ts';
import { tellStep } from '../core/open_steps.ts';
import { OwnedFd } from '../core/owned_fd.ts';
import { call, closing, type Steps, undoAndThrow, undoing } from '../core/steps.ts';
import { explain } from '../diagnose/explain.ts';
import { type Subject, subjectOf } from '../diagnose/subject.ts';
import type { Iommufd } from '../iommu/iommufd.ts';
import { findGroup } from '../locate/find_cdev.ts';
import { rootsOf } from '../locate/roots.ts';
import type { Container } from './container.ts';
import {
  compatContainer,
  type GroupContainer,
  noiommuContainer,
  vfioContainer,
} from './group_container.ts';
import { GroupDevice } from './group_device.ts';
import type { GroupNode, JoinedGroup } from './groups.ts';
import {
  backendOf,
  type Caller,
  type OpenSyncOptions,
  requireIsolation,
  warnOfNoiommu,
} from './kinds.ts';
import type { KvmVfio } from './kvm_vfio.ts';
import { type NodeKind, openNodeOf } from './late_node.ts';
import { type OpenedDevice, readOpened } from './opened.ts';

/** How a device is to be opened by its group. */
export interface GroupWay {
  kind: Exclude<BackendKind, 'cdev'>;
  why: string;
  container: Container | undefined;
  iommufd: Iommufd | undefined;
  vfToken: string | undefined;
  kvm: KvmVfio | undefined;
  caller: Caller;
}

/**
 * Opens a device by its legacy group: the group's node, checked by fstat as a cdev's is; the group
 * into a container; the device out of the group (VFIO_GROUP_GET_DEVICE_FD), and what the kernel
 * says of it.
 */
export function* openByGroup(
  spec: DeviceSpec,
  options: OpenSyncOptions,
  way: GroupWay,
): Steps<OpenedDevice> {
  const roots = rootsOf(options);
  const kind = nodesFor(way);
  const subject = (): Subject => subjectOf(spec, roots, kind.find);
  let groupContainer: GroupContainer | undefined;
  try {
    const { group: number, device } = kind.find(spec, roots);
    tellStep('lookup', device.address);
    groupContainer = groupContainerOf(roots, way);
    tellStep('open', device.address);
    const { groups } = groupContainer;
    const openNode = (): Steps<GroupNode> => openNodeOf(kind, spec, options, way.caller.signal);
    const group = yield* groups.join(number, openNode, way.kvm);
    const location = { ...group.node.location, device };
    return yield* undoing(openIn(groupContainer, group, location, way), groups.leave(group));
  } catch (error) {
    return yield* undoAndThrow(yield* explain(error, subject), closing(groupContainer?.own));
  }
}

/** Groups with an IOMMU, or without: never the one for the other. */
function nodesFor({ kind }: GroupWay): NodeKind<GroupLocation> {
  return {
    find: (spec, roots) => requireIsolation(findGroup(spec, roots), kind),
    what: ({ group }) => `the group ${group}`,
  };
}

function groupContainerOf(roots: Roots, { kind, container, iommufd }: GroupWay): GroupContainer {
  if (kind === 'compat') return compatContainer(roots, iommufd);
  return kind === 'noiommu' ? noiommuContainer(roots, container) : vfioContainer(roots, container);
}

/** Opens a device of a group that is in its container. */
function* openIn(
  groupContainer: GroupContainer,
  group: JoinedGroup,
  location: GroupLocation,
  way: GroupWay,
): Steps<OpenedDevice> {
  const { device, path } = location;
  const native = yield* deviceOf(group, location, way);
  const fd = OwnedFd.adopt(native, `the device ${device.address}`, path).openedAt(way.caller.place);
  const node = { location, fd, roots: group.node.roots };
  const info = yield* readOpened(node, way.caller.signal);
  const backend = backendOf(way.kind, way.why);
  if (!backend.isolated) warnOfNoiommu(device);
  return new GroupDevice(node, info, group, groupContainer, backend);
}

/** The kernel takes the token with the name. */
function* deviceOf(
  { node }: JoinedGroup,
  location: GroupLocation,
  { vfToken }: GroupWay,
): Steps<NativeFd> {
  const { address } = location.device;
  const name = vfToken === undefined ? address : `${address} vf_token=${vfToken}`;
  const answer = yield* call('groupGetDevice', node.fd.native, name);
  return check(answer, ioctlOf(location, 'VFIO_GROUP_GET_DEVICE_FD')) as NativeFd;
}
