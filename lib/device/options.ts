import { Container } from '../backend/container.ts';
import { checkBackend, type OpenOptions, type OpenSyncOptions } from '../backend/kinds.ts';
import { checkKvmOption, type KvmVfio } from '../backend/kvm_vfio.ts';
import {
  invalidType,
  invalidValue,
  parseUuid,
  requireBoolean,
  requireObject,
} from '../core/arguments.ts';
import type { BackendKind, SysfsDevice } from '../core/location.ts';
import type { DeviceNode } from '../core/owned_fd.ts';
import { either, type Steps } from '../core/steps.ts';
import { checkIommufd, type Iommufd } from '../iommu/iommufd.ts';

/** How a device is bound. */
export interface BindOptions {
  /**
   * Whether the device tells when somebody wants it back, and of its errors: it does unless this is
   * false. See the events of {@link VfioDevice}.
   */
  requestEvents?: boolean | undefined;
  /**
   * The UUID that opens a virtual function whose physical function is on vfio-pci, and that one
   * while virtual functions are in use. Kernels before 6.17 do not check it, which a process
   * warning tells.
   */
  vfToken?: string | undefined;
  /**
   * The VM that is to have the device: KVM is told of it in time for its driver to learn of KVM,
   * before it is bound, or before it is opened by its group; and KVM forgets it when it is closed.
   */
  kvm?: KvmVfio | undefined;
}

/** How to open a device, whoever waits for it. */
export interface DeviceOptions extends BindOptions, BusMasterOption {
  /** Where to bind the device. Without it the device opens an iommufd of its own, and closes it. */
  iommufd?: Iommufd | undefined;
  /**
   * Where to put the device's legacy group, which says that it is opened by that. Without it, such
   * a device opens a container of its own, and closes it.
   */
  container?: Container | undefined;
  /**
   * How to open the device. `auto`, the default: by its `cdev` and an iommufd; where the kernel has
   * none, by its legacy `group` and a type1 container. `compat`: by its group, with an iommufd for
   * a container. `noiommu`: a device without an IOMMU, whose DMA reaches all memory, by its cdev
   * (Linux 7.3) or its group. The last two are never chosen by `auto`.
   */
  backend?: 'auto' | BackendKind | undefined;
}

/** How to open a device. */
export interface OpenDeviceOptions extends OpenOptions, DeviceOptions, BeforeBindOption {}

/** {@link OpenDeviceOptions} without a signal. */
export interface OpenDeviceSyncOptions
  extends OpenSyncOptions, DeviceOptions, BeforeBindOption<void> {}

/**
 * @throws TypeError for what no device can be opened with; the node's own options are checked there
 */
export function checkDeviceOptions(options: DeviceOptions & { beforeBind?: unknown }): void {
  requireObject('options', options);
  const { requestEvents, vfToken, kvm } = options;
  checkWay(options);
  checkKvmOption(kvm);
  requireBoolean('requestEvents', requestEvents);
  checkBusMaster(options);
  if (vfToken !== undefined) parseUuid('vfToken', vfToken);
}

/** What says which way to take to a device. */
export interface WayOptions<Result = unknown> {
  beforeBind?: ((node: UnboundNode) => Result) | undefined;
  backend?: 'auto' | BackendKind | undefined;
  iommufd?: Iommufd | undefined;
  container?: Container | undefined;
  vfToken?: string | undefined;
  kvm?: KvmVfio | undefined;
}

/** @throws TypeError for what is of the wrong type, and for what does not go together */
function checkWay(options: Omit<WayOptions, 'beforeBind'> & { beforeBind?: unknown }): void {
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

/** A device's node, open and not bound yet. */
export interface UnboundNode {
  /** The descriptor's number, which is the device's later, too. */
  readonly fd: number;
  /** The device in sysfs. */
  readonly device: SysfsDevice;
  /** The node that was opened. */
  readonly path: string;
}

/** What to do before the device is bound. */
export interface BeforeBindOption<Result = void | PromiseLike<void>> {
  /**
   * Called between opening the node and binding it, for what has to come before binding: KVM, say,
   * has to be told of the descriptor by then (KVM_DEV_VFIO_FILE_ADD). What it returns is awaited;
   * where it fails the node is closed, and nothing was bound. Only of devices that are opened by
   * their cdev.
   */
  beforeBind?: ((node: UnboundNode) => Result) | undefined;
}

/** @throws TypeError `ERR_INVALID_ARG_TYPE` */
function checkBeforeBind({ beforeBind }: { beforeBind?: unknown }): void {
  if (beforeBind === undefined || typeof beforeBind === 'function') return;
  throw invalidType('beforeBind', 'a function', beforeBind);
}

/** @throws TypeError `ERR_INVALID_RETURN_VALUE` of the blocking form, where it returns a promise */
export function* callBeforeBind(
  node: DeviceNode,
  { beforeBind }: BeforeBindOption<unknown>,
): Steps<void> {
  if (beforeBind === undefined) return;
  yield* either(
    async () => {
      await beforeBind(unbound(node));
    },
    () => {
      requireDone(beforeBind(unbound(node)));
    },
  );
}

/** Nobody would wait for a promise. */
function requireDone(result: unknown): void {
  if (typeof result !== 'object' || result === null || !('then' in result)) return;
  const message =
    'beforeBind of a blocking open must be done when it returns, and returned a promise';
  throw Object.assign(new TypeError(message), { code: 'ERR_INVALID_RETURN_VALUE' });
}

function unbound({ fd, location }: DeviceNode): UnboundNode {
  return { fd: fd.number, device: location.device, path: location.path };
}

/** What to do with bus mastering once the device is open. */
export interface BusMasterOption {
  /**
   * Switch bus mastering on: the device may make DMA and send MSI at once. A PCI device has it off
   * after it was opened, and then does neither, without a word.
   */
  busMaster?: boolean | undefined;
}

/** @throws TypeError `ERR_INVALID_ARG_TYPE` */
function checkBusMaster({ busMaster }: { busMaster?: unknown }): void {
  if (busMaster === undefined || typeof busMaster === 'boolean') return;
  throw invalidType('busMaster', 'a boolean', busMaster);
}

/** What is done to a device once it is open. */
export interface AdoptOptions extends BusMasterOption {
  requestEvents?: boolean | undefined;
  signal?: AbortSignal | undefined;
}
