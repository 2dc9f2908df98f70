import type { NativeFd } from '../core/binding.ts';
import { check, ioctlOf } from '../core/call.ts';
import type { CallerPlace } from '../core/caller.ts';
import type { BackendKind, DeviceSpec, GroupLocation, Roots } from '../core/location.ts';
import { tellStep } from '../core/open_steps.ts';
import { OwnedFd } from '../core/owned_fd.ts';
import { call, closeAndThrow, closeSyncAndThrow, run, runSync, type Steps } from '../core/steps.ts';
import { explain, explainSync } from '../diagnose/explain.ts';
import { subjectOf } from '../diagnose/subject.ts';
import type { Iommufd } from '../iommu/iommufd.ts';
import { findGroup } from '../locate/find_group.ts';
import { rootsOf } from '../locate/roots.ts';
import type { Container } from './container.ts';
import { compatHost, containerHost, type Host, noiommuHost } from './group_container.ts';
import { GroupDevice } from './group_device.ts';
import type { JoinedGroup } from './groups.ts';
import { backendOf, requireIsolation, warnOfNoiommu } from './kinds.ts';
import { type NodeKind, openNodeOf, openNodeOfSync } from './late_node.ts';
import type { OpenOptions, OpenSyncOptions } from './open_options.ts';
import type { OpenedDevice } from './opened.ts';

/** How a device is to be opened by its group. */
export interface GroupWay {
  kind: Exclude<BackendKind, 'cdev'>;
  why: string;
  container: Container | undefined;
  iommufd: Iommufd | undefined;
  vfToken: string | undefined;
  /** Where the program asked for it. */
  place: CallerPlace;
}

/**
 * Opens a device by its legacy group: the group's node, checked by fstat as a cdev's is; the group into
 * a container; the device out of the group (VFIO_GROUP_GET_DEVICE_FD).
 */
export async function openByGroup(
  spec: DeviceSpec,
  options: OpenOptions,
  way: GroupWay,
): Promise<OpenedDevice> {
  const roots = rootsOf(options);
  const kind = nodesFor(way);
  let host: Host | undefined;
  try {
    const { group: number, device } = kind.find(spec, roots);
    tellStep('lookup', device.address);
    host = hostOf(roots, way);
    tellStep('open', device.address);
    const { groups } = host;
    const group = await groups.join(number, () => openNodeOf(kind, spec, options));
    try {
      const location = { ...group.node.location, device };
      return opened(await run(deviceOf(group, location, way)), { location, group, host, way });
    } catch (error) {
      return await closeAndThrow(error, () => groups.leave(group));
    }
  } catch (error) {
    const explained = await explain(error, () => subjectOf(spec, roots, kind.find));
    return await closeAndThrow(explained, async () => host?.own?.close());
  }
}

/** As {@link openByGroup}, blocking. */
export function openByGroupSync(
  spec: DeviceSpec,
  options: OpenSyncOptions,
  way: GroupWay,
): OpenedDevice {
  const roots = rootsOf(options);
  const kind = nodesFor(way);
  let host: Host | undefined;
  try {
    const { group: number, device } = kind.find(spec, roots);
    tellStep('lookup', device.address);
    host = hostOf(roots, way);
    tellStep('open', device.address);
    const { groups } = host;
    const group = groups.joinSync(number, () => openNodeOfSync(kind, spec, options));
    try {
      const location = { ...group.node.location, device };
      return opened(runSync(deviceOf(group, location, way)), { location, group, host, way });
    } catch (error) {
      return closeSyncAndThrow(error, () => {
        groups.leaveSync(group);
      });
    }
  } catch (error) {
    const explained = explainSync(error, () => subjectOf(spec, roots, kind.find));
    return closeSyncAndThrow(explained, () => host?.own?.closeSync());
  }
}

/** Groups with an IOMMU, or without: never the one for the other. */
function nodesFor({ kind }: GroupWay): NodeKind<GroupLocation> {
  return {
    find: (spec, roots) => requireIsolation(findGroup(spec, roots), kind),
    what: ({ group }) => `the group ${group}`,
  };
}

function hostOf(roots: Roots, { kind, container, iommufd }: GroupWay): Host {
  if (kind === 'compat') return compatHost(roots, iommufd);
  return kind === 'noiommu' ? noiommuHost(roots, container) : containerHost(roots, container);
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

/** What was opened on the way to a device. */
interface Parts {
  location: GroupLocation;
  group: JoinedGroup;
  host: Host;
  way: GroupWay;
}

function opened(native: NativeFd, { location, group, host, way }: Parts): OpenedDevice {
  const { device, path } = location;
  const fd = OwnedFd.adopt(native, `the device ${device.address}`, path).openedAt(way.place);
  const backend = backendOf(way.kind, way.why);
  if (!backend.isolated) warnOfNoiommu(device);
  return new GroupDevice({ location, fd, roots: group.node.roots }, group, host, backend);
}
