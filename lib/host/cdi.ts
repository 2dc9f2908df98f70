import { checkBackend, requireIsolation } from '../backend/kinds.ts';
import { invalidType, invalidValue, requireObject } from '../core/arguments.ts';
import { explained, VfioError } from '../core/errors.ts';
import type {
  BackendKind,
  DeviceSpec,
  NodeLocation,
  Roots,
  SysfsDevice,
} from '../core/location.ts';
import { explainSync } from '../diagnose/explain.ts';
import { noIommufd } from '../diagnose/node_causes.ts';
import { subjectOf } from '../diagnose/subject.ts';
import { findCdev, findGroup } from '../locate/find_cdev.ts';
import { parseSpec } from '../locate/resolve.ts';
import { type RootOptions, rootsOf } from '../locate/roots.ts';
import { hiddenMisc, miscNumbers } from '../locate/sysfs.ts';

/** How {@link cdiSpec} names devices, and which of their nodes a container gets. */
export interface CdiOptions extends RootOptions {
  /** `vendor/class` of the names, `vfio.dev/device` if absent. */
  kind?: string | undefined;
  /** The device's name in the specification, where there is only one; its address if absent. */
  name?: string | undefined;
  /**
   * How the container's program opens the devices, as in `VfioDevice.open`: that decides which
   * nodes it needs. `auto` if absent: the cdev, or the legacy group where the kernel has no cdevs.
   */
  backend?: BackendKind | 'auto' | undefined;
}

/** A specification of the Container Device Interface, version 0.6.0, as it is in its JSON file. */
export interface CdiSpec {
  /** The version of the specification's format: `0.6.0`. */
  cdiVersion: string;
  /** `vendor/class`, before the `=` of a device's full name. */
  kind: string;
  /** Says that this package wrote it. */
  annotations: Record<string, string>;
  /** One for each device that was asked for. */
  devices: CdiDevice[];
}

/** A device of a {@link CdiSpec}: what a container is given that asks for `kind=name`. */
export interface CdiDevice {
  /** The name behind the `=`. */
  name: string;
  /** What the container gets: variables of its environment, `NAME=value`, and nodes. */
  containerEdits: { env: string[]; deviceNodes: CdiDeviceNode[] };
}

/** A node that a container is given. */
export interface CdiDeviceNode {
  /** Where it is in the container. */
  path: string;
  /** Where it is on the host, if elsewhere. */
  hostPath?: string;
  /** A character device. */
  type: 'c';
  /** What the container may do with it: read and write. */
  permissions: 'rw';
}

/** By this a file of this command is known. */
const writtenBy: Readonly<Record<string, string>> = { 'vfio.dev/written-by': 'vfio cdi' };

/**
 * A specification by which container runtimes (Podman, Docker, containerd, CRI-O) give devices to
 * containers: for each device the nodes that opening it takes, and its address in the environment,
 * `VFIO_DEVICE_0000_3B_00_0=0000:3b:00.0`, which `VfioDevice.open` takes. Devices are looked up in
 * sysfs and have to be bound to a VFIO driver; no node is opened or looked for. The names of nodes
 * change when a device is bound anew: the specification is true until then. It has no device
 * numbers, so that the runtime looks at the nodes whenever it starts a container.
 *
 * @throws TypeError, RangeError for what cannot name a device, a kind or a name; `ERR_INVALID_ARG_VALUE`
 *   also for an empty list, for a device that is there twice, and for a `name` of several devices
 * @throws VfioError `ERR_VFIO_NO_DEVICE`, `ERR_VFIO_NOT_BOUND_TO_VFIO`, `ERR_VFIO_NO_CDEV`,
 *   `ERR_VFIO_NO_GROUP`; `ERR_VFIO_UNSUPPORTED` where the backend takes an iommufd and the kernel
 *   has none; `ERR_VFIO_WRONG_BACKEND` for a device without an IOMMU where `backend` is
 *   not `noiommu`, and the other way round
 */
export function cdiSpec(devices: readonly DeviceSpec[], options: CdiOptions = {}): CdiSpec {
  requireDevices(devices);
  requireObject('options', options);
  const { kind = 'vfio.dev/device', name, backend = 'auto' } = options;
  checkBackend(backend);
  checkKind(kind);
  checkName(name, devices);
  const roots = rootsOf(options);
  // Nothing is looked up before all of them make sense.
  for (const spec of devices) parseSpec(spec, roots);
  const all = devices.map((spec) => deviceOf(spec, roots, backend, name));
  requireEachOnce(all);
  return { cdiVersion: '0.6.0', kind, annotations: { ...writtenBy }, devices: all };
}

function requireDevices(devices: unknown): void {
  const expected = 'an array of at least one device';
  if (!Array.isArray(devices)) throw invalidType('devices', expected, devices);
  if (devices.length === 0) throw invalidValue('devices', expected, devices);
}

const label = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?';
/** A DNS subdomain that begins with a letter, and a class of up to 63 characters. */
const kindPattern = new RegExp(
  `^(?=[a-z][^/]{0,252}/)${label}(?:\\.${label})*/[A-Za-z](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$`,
);

function checkKind(kind: unknown): void {
  const expected = "a vendor's domain and a class, such as 'vfio.dev/device'";
  if (typeof kind !== 'string') throw invalidType('kind', expected, kind);
  if (!kindPattern.test(kind)) throw invalidValue('kind', expected, kind);
}

const namePattern = /^[A-Za-z0-9](?:[A-Za-z0-9_.:-]*[A-Za-z0-9])?$/;

function checkName(name: unknown, devices: readonly unknown[]): void {
  if (name === undefined) return;
  const expected = 'letters, digits and _ - . : with a letter or a digit at both ends';
  if (typeof name !== 'string') throw invalidType('name', expected, name);
  if (!namePattern.test(name)) throw invalidValue('name', expected, name);
  if (devices.length > 1)
    throw invalidValue('name', 'absent where there are several devices', name);
}

function requireEachOnce(devices: readonly CdiDevice[]): void {
  const names = devices.map(({ name }) => name);
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice === undefined) return;
  throw invalidValue('devices', 'a list that names each device once', twice);
}

function deviceOf(
  spec: DeviceSpec,
  roots: Roots,
  backend: BackendKind | 'auto',
  name: string | undefined,
): CdiDevice {
  try {
    const { device, nodes } = nodesOf(spec, roots, backend);
    return {
      name: name ?? nameOf(device),
      containerEdits: {
        env: [`${variableOf(device)}=${openedBy(device)}`],
        deviceNodes: nodes.map((path) => deviceNode(path, roots)),
      },
    };
  } catch (error) {
    throw explainSync(error, () => subjectOf(spec, roots));
  }
}

/** A device, and the nodes below /dev that opening it takes. */
interface Nodes {
  device: SysfsDevice;
  nodes: string[];
}

/** As `VfioDevice.open` chooses: the cdev where there is one. */
function nodesOf(spec: DeviceSpec, roots: Roots, backend: BackendKind | 'auto'): Nodes {
  if (backend === 'group') return groupNodes(spec, roots, backend);
  if (backend === 'compat') return withIommufd(groupNodes(spec, roots, backend), roots, backend);
  if (backend === 'cdev') return withIommufd(cdevNodes(spec, roots, backend), roots, backend);
  const [byCdev, byGroup] =
    backend === 'noiommu' ? (['noiommu', 'noiommu'] as const) : (['cdev', 'group'] as const);
  try {
    if (hasIommufd(roots)) return cdevNodes(spec, roots, byCdev);
  } catch (error) {
    if (!isWithoutCdev(error)) throw error;
  }
  return groupNodes(spec, roots, byGroup);
}

function hasIommufd({ sysfsRoot }: Roots): boolean {
  return miscNumbers('iommu', sysfsRoot) !== undefined;
}

/** A container whose nodes are not all there is not started. Where sysfs hides it, nothing is said. */
function withIommufd(found: Nodes, roots: Roots, backend: 'cdev' | 'compat'): Nodes {
  if (hasIommufd(roots) || hiddenMisc(roots)) return found;
  const { address } = found.device;
  const error = new VfioError({
    code: 'ERR_VFIO_UNSUPPORTED',
    message: `the backend ${backend} opens ${address} by an iommufd, and there is none`,
    device: address,
  });
  throw explained(error, noIommufd(process.getBuiltinModule('node:os').release()));
}

function isWithoutCdev(error: unknown): boolean {
  return error instanceof VfioError && error.code === 'ERR_VFIO_NO_CDEV';
}

function cdevNodes(spec: DeviceSpec, roots: Roots, kind: 'cdev' | 'noiommu'): Nodes {
  const { device, name } = requireIsolation<NodeLocation>(findCdev(spec, roots), kind);
  return { device, nodes: [`vfio/devices/${name}`, 'iommu'] };
}

function groupNodes(spec: DeviceSpec, roots: Roots, kind: Exclude<BackendKind, 'cdev'>): Nodes {
  const { device, name } = requireIsolation<NodeLocation>(findGroup(spec, roots), kind);
  return { device, nodes: [`vfio/${name}`, kind === 'compat' ? 'iommu' : 'vfio/vfio'] };
}

function deviceNode(path: string, { devRoot }: Roots): CdiDeviceNode {
  const elsewhere = devRoot === '/dev' ? {} : { hostPath: `${devRoot}/${path}` };
  return { path: `/dev/${path}`, ...elsewhere, type: 'c', permissions: 'rw' };
}

/** Addresses on buses other than PCI may have more characters than names. */
function nameOf({ address }: SysfsDevice): string {
  const name = address.replaceAll(/[^A-Za-z0-9_.:-]/g, '_');
  if (namePattern.test(name)) return name;
  throw invalidValue('name', 'given for a device whose address can be no name', address);
}

/** Of its own for each device, so that specifications can be used together. */
function variableOf({ address }: SysfsDevice): string {
  return `VFIO_DEVICE_${address.replaceAll(/[^A-Za-z0-9]/g, '_').toUpperCase()}`;
}

/** What names the device to `VfioDevice.open` in a single word. */
function openedBy({ bus, address }: SysfsDevice): string {
  return bus === 'pci' || bus === 'mdev' ? address : `/sys/bus/${bus}/devices/${address}`;
}
