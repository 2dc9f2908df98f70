import { invalidType, invalidValue } from '../arguments.ts';
import { fs } from '../builtins.ts';
import type { CallerPlace } from '../caller.ts';
import { VfioError } from '../errors.ts';
import { Container } from '../group/container.ts';
import { openByGroup, openByGroupSync } from '../group/open.ts';
import type { Iommufd } from '../iommu/iommufd.ts';
import type { DeviceSpec } from '../locate/address.ts';
import { findCdev, type NodeLocation } from '../locate/find_cdev.ts';
import { findGroup } from '../locate/find_group.ts';
import { rootsOf, type RootOptions, type Roots } from '../locate/roots.ts';
import { closeAndThrow, closeSyncAndThrow } from '../undo.ts';
import { checkBackend, type BackendKind } from './backend.ts';
import {
  callBeforeBind,
  callBeforeBindSync,
  checkBeforeBind,
  type UnboundNode,
} from './before_bind.ts';
import { bindNode, bindNodeSync, checkIommufd } from './bind.ts';
import { requireIsolation } from './isolation.ts';
import { cdevs, openNodeOf, openNodeOfSync, type NodeKind } from './late_node.ts';
import type { OpenedDevice } from './opened.ts';
import type { OpenOptions, OpenSyncOptions } from './open_options.ts';

/** What says which way to take to a device. */
export interface WayOptions<Result = unknown> {
  beforeBind?: ((node: UnboundNode) => Result) | undefined;
  backend?: 'auto' | BackendKind | undefined;
  iommufd?: Iommufd | undefined;
  container?: Container | undefined;
  vfToken?: string | undefined;
}

/** A way to a device. */
type Way =
  /** By its own node. */
  | { by: 'cdev'; kind: 'cdev' | 'noiommu'; why: string }
  /** By the node of its group. */
  | { by: 'group'; kind: Exclude<BackendKind, 'cdev'>; why: string };

/** @throws TypeError for what is of the wrong type, and for what does not go together */
export function checkWay(options: Omit<WayOptions, 'beforeBind'> & { beforeBind?: unknown }): void {
  const { backend, iommufd, container, beforeBind } = options;
  checkBackend(backend);
  checkIommufd(iommufd);
  checkBeforeBind(options);
  if (container !== undefined && !Container.isContainer(container)) {
    throw invalidType('container', 'a Container', container);
  }
  if (beforeBind !== undefined && (container || backend === 'group' || backend === 'compat')) {
    throw invalidValue('beforeBind', 'absent where the device is opened by its group', beforeBind);
  }
  if (iommufd && container) {
    throw invalidValue('container', 'absent where iommufd is given', container);
  }
  if (container && (backend === 'cdev' || backend === 'compat')) {
    throw invalidValue('backend', "'group' or 'noiommu' where container is given", backend);
  }
  if (iommufd && backend === 'group') {
    throw invalidValue('backend', "'cdev', 'compat' or 'noiommu' where iommufd is given", backend);
  }
}

/** Opens a device by the backend that is asked for, or by the first that the kernel has. */
export async function openDevice(
  spec: DeviceSpec,
  options: OpenOptions & WayOptions,
  place: CallerPlace,
): Promise<OpenedDevice> {
  const [first, second] = waysOf(options);
  try {
    return await openOneWay(first, spec, options, place);
  } catch (error) {
    const why = second && whyNoCdev(error, spec, options);
    if (second === undefined || why === undefined) throw error;
    return await openOneWay({ ...second, why }, spec, options, place);
  }
}

/** As {@link openDevice}, blocking. */
export function openDeviceSync(
  spec: DeviceSpec,
  options: OpenSyncOptions & WayOptions,
  place: CallerPlace,
): OpenedDevice {
  const [first, second] = waysOf(options);
  try {
    return openOneWaySync(first, spec, options, place);
  } catch (error) {
    const why = second && whyNoCdev(error, spec, options);
    if (second === undefined || why === undefined) throw error;
    return openOneWaySync({ ...second, why }, spec, options, place);
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

async function openOneWay(
  way: Way,
  spec: DeviceSpec,
  options: OpenOptions & WayOptions,
  place: CallerPlace,
): Promise<OpenedDevice> {
  const { container, iommufd, vfToken } = options;
  const { why } = way;
  if (way.by === 'group') {
    const { kind } = way;
    return openByGroup(spec, options, { kind, why, container, iommufd, vfToken, place });
  }
  const node = await openNodeOf(cdevsOf(way.kind), spec, options);
  node.fd.openedAt(place);
  try {
    await callBeforeBind(node, options);
    return await bindNode(node, { iommufd, vfToken, why });
  } catch (error) {
    return await closeAndThrow(error, () => node.fd.close());
  }
}

function openOneWaySync(
  way: Way,
  spec: DeviceSpec,
  options: OpenSyncOptions & WayOptions,
  place: CallerPlace,
): OpenedDevice {
  const { container, iommufd, vfToken } = options;
  const { why } = way;
  if (way.by === 'group') {
    const { kind } = way;
    return openByGroupSync(spec, options, { kind, why, container, iommufd, vfToken, place });
  }
  const node = openNodeOfSync(cdevsOf(way.kind), spec, options);
  node.fd.openedAt(place);
  try {
    callBeforeBindSync(node, options);
    return bindNodeSync(node, { iommufd, vfToken, why });
  } catch (error) {
    return closeSyncAndThrow(error, () => {
      node.fd.closeSync();
    });
  }
}

/** Cdevs with an IOMMU, or without: never the one for the other. */
function cdevsOf(kind: BackendKind): NodeKind<NodeLocation> {
  return { ...cdevs, find: (spec, roots) => requireIsolation(findCdev(spec, roots), kind) };
}
