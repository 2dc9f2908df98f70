import { checkId, requireObject } from '../core/arguments.ts';
import { binding } from '../core/binding.ts';
import { type CallName, check } from '../core/call.ts';
import { callerPlace } from '../core/caller.ts';
import { Closable } from '../core/closable.ts';
import { EINVAL, ENOTTY } from '../core/errno.ts';
import { VfioError } from '../core/errors.ts';
import { defineInspect } from '../core/inspect_handle.ts';
import type { GroupLocation, Roots } from '../core/location.ts';
import type { OwnedFd } from '../core/owned_fd.ts';
import { call, closing, type HasClose, runSync, type Steps, undoAndThrow } from '../core/steps.ts';
import { badAnswer } from '../core/structs.ts';
import { explainSync } from '../diagnose/explain.ts';
import { type MiscNode, openMiscNode } from '../iommu/node_identity.ts';
import { isNoiommu } from '../locate/find_cdev.ts';
import { type RootOptions, rootsOf } from '../locate/roots.ts';
import { containerInfoSize } from './container_info.ts';
import { ContainerSpace } from './container_space.ts';
import { Groups } from './groups.ts';
import { UsedIovas } from './used_iovas.ts';

/** VFIO_API_VERSION, VFIO_TYPE1v2_IOMMU and VFIO_NOIOMMU_IOMMU */
const apiVersion = 0;
const type1v2 = 3;
const noiommu = 8;

/**
 * An open `/dev/vfio/vfio`: a container of legacy groups, with one address space for all devices in
 * it. What an {@link Iommufd} is to cdevs: pass the same one to several opens, and they share it.
 */
export class Container extends Closable {
  readonly #fd: OwnedFd;
  readonly #groups: Groups;
  readonly #usedIovas = new UsedIovas();
  readonly #spaces = new Set<ContainerSpace>();

  static {
    defineInspect(this, 'Container', (container) => {
      const { path, closed } = container.#fd;
      return { path, state: closed ? 'closed' : 'open' };
    });
  }

  private constructor(fd: OwnedFd) {
    super();
    this.#fd = fd;
    this.#groups = new Groups(fd, {
      first: (location) => this.#setIommu(location),
      last: () => {
        if (this.#hasIommu()) return;
        for (const space of this.#spaces) space.emptied();
      },
    });
  }

  /**
   * Opens `/dev/vfio/vfio`, or `vfio/vfio` in the folder that `devRoot` names. Does not block.
   *
   * @throws TypeError for `options` that are no object, for roots that are no absolute paths
   * @throws VfioError `ENOENT` (the kernel has no containers: CONFIG_VFIO_CONTAINER), `EACCES`;
   *   `ERR_VFIO_NODE_MISMATCH` (the node is something else)
   */
  static open(options: RootOptions = {}): Container {
    const place = callerPlace();
    requireObject('options', options);
    return new Container(openNode(rootsOf(options)).openedAt(place));
  }

  /** One that a device opens for itself, and closes. @internal */
  static openFor(roots: Roots): Container {
    return new Container(openNode(roots).asPart());
  }

  /** @internal */
  static adopt(fd: OwnedFd): Container {
    return new Container(fd);
  }

  /** The address space of one that another thread has: closes `fd`. @internal */
  static adoptSpace(fd: OwnedFd): ContainerSpace {
    const container = new Container(fd);
    return container.#space(container);
  }

  /** Whether it is one, and not only called so. @internal */
  static isContainer(value: unknown): value is Container {
    return typeof value === 'object' && value !== null && #fd in value;
  }

  /**
   * The descriptor's number, for reading. The Container stays its owner.
   *
   * @throws VfioError `ERR_VFIO_CLOSED`
   */
  get fd(): number {
    return this.#fd.number;
  }

  /** @internal */
  get owned(): OwnedFd {
    return this.#fd;
  }

  /** @internal */
  get groups(): Groups {
    return this.#groups;
  }

  /**
   * What the kernel answers for one of its extensions, by its number in linux/vfio.h: 0 where the
   * container does not have it (VFIO_CHECK_EXTENSION). Does not block.
   *
   * @param extension - its number
   * @throws TypeError, RangeError; VfioError `ERR_VFIO_CLOSED`
   */
  checkExtension(extension: number): number {
    const number = checkId('extension', extension);
    const answer = binding().containerCheck(this.#fd.native, number);
    return check(answer, this.#call('VFIO_CHECK_EXTENSION'));
  }

  /**
   * The container's address space, to map through. It is one, however often this is called; what
   * each object maps, its `close()` unmaps. Devices are in it from the moment they are opened.
   *
   * @throws VfioError `ERR_VFIO_CLOSED`
   */
  createIoas(): ContainerSpace {
    check(binding().fdNumber(this.#fd.native), { syscall: 'fdNumber' });
    return this.#space();
  }

  #space(own?: HasClose): ContainerSpace {
    const space = ContainerSpace.of({
      fd: this.#fd,
      usedIovas: this.#usedIovas,
      forget: (one) => {
        this.#spaces.delete(one);
      },
      ...(own && { own }),
    });
    this.#spaces.add(space);
    return space;
  }

  /**
   * Closes the descriptor. Devices that are open in it stay so. Closing twice is harmless.
   *
   * @throws VfioError what the kernel answers; the descriptor is closed all the same
   */
  close(): Promise<void> {
    return this.#fd.close();
  }

  /** The blocking form of {@link close}. */
  closeSync(): void {
    this.#fd.closeSync();
  }

  /** Another thread may have devices in it of which this one knows nothing: the kernel does. */
  #hasIommu(): boolean {
    if (this.#fd.closed) return false;
    const words = new Uint32Array(containerInfoSize / 4);
    return binding().containerInfo(this.#fd.native, words) !== EINVAL;
  }

  *#setIommu(location: GroupLocation): Steps<void> {
    const type = isNoiommu(location) ? noiommu : type1v2;
    const native = this.#fd.native;
    const named = this.#call('VFIO_CHECK_EXTENSION');
    if (check(binding().containerCheck(native, type), named) === 0) {
      throw new VfioError({
        ...named,
        code: 'ERR_VFIO_UNSUPPORTED',
        message:
          type === noiommu
            ? 'the kernel opens no devices without an IOMMU (enable_unsafe_noiommu_mode of the module vfio)'
            : 'the kernel has no type1 IOMMU for this device: modprobe vfio_iommu_type1',
      });
    }
    const answer = yield* call('containerSetIommu', native, type);
    if (answer === EINVAL && this.#hasIommu()) return;
    check(answer, { ...this.#call('VFIO_SET_IOMMU'), device: location.device.address });
  }

  #call(request: string): CallName {
    return { syscall: 'ioctl', request, path: this.#fd.path };
  }
}

const node: MiscNode = { name: 'vfio', below: 'vfio/vfio', what: 'the container' };

function openNode(roots: Roots): OwnedFd {
  try {
    const fd = openMiscNode(node, roots);
    try {
      checkVersion(fd);
      return fd;
    } catch (error) {
      return runSync(undoAndThrow(error, closing(fd)));
    }
  } catch (error) {
    throw explainSync(error, () => ({ roots }));
  }
}

function checkVersion({ native, path }: OwnedFd): void {
  const answer = binding().containerVersion(native);
  // Where sysfs shows no numbers to compare with, this tells.
  if (answer === ENOTTY) {
    throw new VfioError({
      code: 'ERR_VFIO_NODE_MISMATCH',
      message: `${path} is a character device, and no container of VFIO`,
      path,
    });
  }
  const version = check(answer, { syscall: 'ioctl', request: 'VFIO_GET_API_VERSION', path });
  if (version !== apiVersion) throw badAnswer(`${path} speaks version ${version} of VFIO`);
}
