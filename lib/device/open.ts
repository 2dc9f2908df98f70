import { bindNode } from '../backend/cdev_open.ts';
import { openByGroup } from '../backend/group_open.ts';
import { type Caller, type OpenSyncOptions, requireIsolation } from '../backend/kinds.ts';
import { cdevs, type NodeKind, openNodeOf } from '../backend/late_node.ts';
import type { OpenedDevice } from '../backend/opened.ts';
import { fs } from '../core/builtins.ts';
import { VfioError } from '../core/errors.ts';
import type { BackendKind, DeviceSpec, NodeLocation, Roots } from '../core/location.ts';
import type { DeviceNode } from '../core/owned_fd.ts';
import { closing, type Steps, undoing } from '../core/steps.ts';
import { findCdev, findGroup } from '../locate/find_cdev.ts';
import { type RootOptions, rootsOf } from '../locate/roots.ts';
import { callBeforeBind, type WayOptions } from './options.ts';

/** A way to a device. */
type Way =
  /** By its own node. */
  | { by: 'cdev'; kind: 'cdev' | 'noiommu'; why: string }
  /** By the node of its group. */
  | { by: 'group'; kind: Exclude<BackendKind, 'cdev'>; why: string };

/** Opens a device by the backend that is asked for, or by the first that the kernel has. */
export function* openDevice(
  spec: DeviceSpec,
  options: OpenSyncOptions & WayOptions,
  caller: Caller,
): Steps<OpenedDevice> {
  const [first, second] = waysOf(options);
  try {
    return yield* openOneWay(first, spec, options, caller);
  } catch (error) {
    const why = second && whyNoCdev(error, spec, options);
    if (second === undefined || why === undefined) throw error;
    return yield* openOneWay({ ...second, why }, spec, options, caller);
  }
}

/** The way to take, and the one to take where there is no cdev. */
function waysOf(options: WayOptions): [Way, Way?] {
  const { backend = 'auto', iommufd, container, beforeBind } = options;
  const why = backend === 'auto' ? 'the kernel has a cdev for it' : 'asked for';
  if (backend === 'compat') return [{ kind: 'compat', by: 'group', why }];
  const byCdev: Way = { kind: backend === 'noiommu' ? 'noiommu' : 'cdev', by: 'cdev', why };
  const byGroup: Way = { kind: backend === 'noiommu' ? 'noiommu' : 'group', by: 'group', why };
  if (container) return [{ ...byGroup, why: 'a container was given' }];
  if (iommufd) return [{ ...byCdev, why: 'an iommufd was given' }];
  if (backend === 'group') return [byGroup];
  // A group is not bound: nothing comes before that.
  return backend === 'cdev' || beforeBind ? [byCdev] : [byCdev, byGroup];
}

/** What leaves only the group. */
function whyNoCdev(error: unknown, spec: DeviceSpec, options: RootOptions): string | undefined {
  if (!(error instanceof VfioError)) return undefined;
  if (error.code === 'ERR_VFIO_NO_CDEV') return 'the kernel makes no cdev for it';
  if (error.code !== 'ENOENT') return undefined;
  if (error.path?.endsWith('/iommu') === true) return 'there is no iommufd';
  return hasGroupNode(spec, rootsOf(options))
    ? 'its cdev has no node here, and its group has one'
    : undefined;
}

/** Whether the node of the device's group is there, as where a container was given only that. */
function hasGroupNode(spec: DeviceSpec, roots: Roots): boolean {
  try {
    return fs.existsSync(findGroup(spec, roots).path);
  } catch (error) {
    if (error instanceof VfioError) return false;
    throw error;
  }
}

function* openOneWay(
  way: Way,
  spec: DeviceSpec,
  options: OpenSyncOptions & WayOptions,
  caller: Caller,
): Steps<OpenedDevice> {
  const { container, iommufd, vfToken, kvm } = options;
  const { why } = way;
  if (way.by === 'group') {
    const { kind } = way;
    const given = { container, iommufd, vfToken, kvm };
    return yield* openByGroup(spec, options, { kind, why, ...given, caller });
  }
  const node = yield* openNodeOf(cdevsOf(way.kind), spec, options, caller.signal);
  node.fd.openedAt(caller.place);
  return yield* undoing(bindAfter(node, options, why, caller), closing(node.fd));
}

function* bindAfter(
  node: DeviceNode,
  options: WayOptions,
  why: string,
  { signal }: Caller,
): Steps<OpenedDevice> {
  const { iommufd, vfToken, kvm } = options;
  yield* callBeforeBind(node, options);
  return yield* bindNode(node, { iommufd, vfToken, kvm, why, signal });
}

/** Cdevs with an IOMMU, or without: never the one for the other. */
function cdevsOf(kind: BackendKind): NodeKind<NodeLocation> {
  return { ...cdevs, find: (spec, roots) => requireIsolation(findCdev(spec, roots), kind) };
}
