import { invalidType } from '../arguments.ts';
import { binding, type Answer, type NativeFd } from '../binding.ts';
import { check } from '../call.ts';
import { explain, explainSync } from '../diagnose/explain.ts';
import type { Subject } from '../diagnose/subject.ts';
import type { Ioas } from '../iommu/ioas.ts';
import { Iommufd } from '../iommu/iommufd.ts';
import type { NodeLocation } from '../locate/find_cdev.ts';
import { isNoiommu } from '../locate/find_group.ts';
import type { Roots } from '../locate/roots.ts';
import type { OwnedFd } from '../owned_fd.ts';
import type { Cause } from '../reasons.ts';
import { tokenOf, type SharedToken } from '../shared_token.ts';
import { closeAndThrow, closeSyncAndThrow } from '../undo.ts';
import { parseUuid } from '../feature/uuid.ts';
import { backendOf, type Backend } from './backend.ts';
import { CdevAttachment } from './cdev_attachment.ts';
import { noDevId } from './dev_id.ts';
import { warnOfNoiommu } from './isolation.ts';
import type { DeviceNode } from './node.ts';
import { tellStep } from './open_steps.ts';
import { ioctlOf, type Attachment, type OpenedDevice } from './opened.ts';
import { isSriov, warnOfToken } from './vf_token.ts';

/** A device that was opened by its cdev: its descriptor, then the iommufd that it is bound to. */
export class BoundCdev implements OpenedDevice {
  readonly location: NodeLocation;
  readonly roots: Roots;
  readonly fd: OwnedFd;
  readonly #devId: number | undefined;
  readonly iommufd: Iommufd;
  readonly container: undefined;
  readonly backend: Backend;
  readonly attachment: Attachment;
  readonly #ownIommufd: Iommufd | undefined;

  /** @param devId - undefined where another program bound the device, and did not tell */
  constructor(
    { location, fd, roots }: DeviceNode,
    devId: number | undefined,
    { iommufd, own }: Target,
    why: string,
  ) {
    this.backend = backendOf(isNoiommu(location) ? 'noiommu' : 'cdev', why);
    this.attachment = new CdevAttachment(this);
    this.location = location;
    this.roots = roots;
    this.fd = fd;
    this.#devId = devId;
    this.iommufd = iommufd;
    this.#ownIommufd = own;
  }

  /**
   * The device's id in the iommufd, which cannot be asked of the kernel later.
   *
   * @throws VfioError `ERR_VFIO_NO_DEV_ID`
   */
  get devId(): number {
    if (this.#devId === undefined) throw noDevId(this.location.device);
    return this.#devId;
  }

  get context(): Iommufd {
    return this.iommufd;
  }

  /** The kernel tells devices by their ids, and no groups. */
  hasGroup(): boolean {
    return false;
  }

  groupFds(): NativeFd[] {
    return [];
  }

  share(): SharedToken<'device'> {
    const { fd, devId, location, roots, iommufd } = this;
    const content = { devId, location, ...roots, iommufd: iommufd.share() };
    return tokenOf('device', { fd: fd.offer(), ...content });
  }

  createIoas(): Ioas {
    return this.iommufd.createIoas();
  }

  closesBecause(cause: Cause): void {
    this.fd.closesBecause(cause);
    this.#ownIommufd?.owned.closesBecause(cause);
  }

  async close(): Promise<void> {
    await (this.#ownIommufd ? this.fd.closeBefore(this.#ownIommufd.owned) : this.fd.close());
  }

  closeSync(): void {
    try {
      this.fd.closeSync();
    } finally {
      this.#ownIommufd?.closeSync();
    }
  }
}

/** How a cdev is bound. */
export interface BindWay {
  iommufd?: Iommufd | undefined;
  vfToken?: string | undefined;
  /** Why by its cdev. */
  why?: string;
}

/**
 * Binds an open node to an iommufd (VFIO_DEVICE_BIND_IOMMUFD): to the one given, or to one that is
 * opened for this device and closed with it. After a failure the node is open as before.
 */
export async function bindNode(
  node: DeviceNode,
  { iommufd: given, vfToken, why = 'asked for' }: BindWay = {},
): Promise<BoundCdev> {
  const token = uuidOf(vfToken);
  const target = chooseIommufd(node, given);
  try {
    const { native } = target.iommufd.owned;
    let answer: Answer = await binding().bind(node.fd.native, native, token);
    if (isTokenUnknown(node, answer, token)) {
      answer = await binding().bind(node.fd.native, native);
      if (answer !== undefined && answer >= 0) warnOfToken(node.location.device);
    }
    return bound(node, answer, target, why);
  } catch (error) {
    const explained = await explain(error, () => subjectOf(node));
    return await closeAndThrow(explained, async () => target.own?.close());
  }
}

/** As {@link bindNode}, blocking. */
export function bindNodeSync(
  node: DeviceNode,
  { iommufd: given, vfToken, why = 'asked for' }: BindWay = {},
): BoundCdev {
  const token = uuidOf(vfToken);
  const target = chooseIommufd(node, given);
  try {
    const { native } = target.iommufd.owned;
    let answer = binding().bindSync(node.fd.native, native, token);
    if (isTokenUnknown(node, answer, token)) {
      answer = binding().bindSync(node.fd.native, native);
      if (answer !== undefined && answer >= 0) warnOfToken(node.location.device);
    }
    return bound(node, answer, target, why);
  } catch (error) {
    const explained = explainSync(error, () => subjectOf(node));
    return closeSyncAndThrow(explained, () => target.own?.closeSync());
  }
}

const EINVAL = -22;

function uuidOf(vfToken: string | undefined): Uint8Array | undefined {
  return vfToken === undefined ? undefined : parseUuid('vfToken', vfToken);
}

/** A kernel that knows no tokens answers EINVAL, as for any other mistake. */
function isTokenUnknown({ location }: DeviceNode, answer: Answer, token: unknown): boolean {
  return answer === EINVAL && token !== undefined && isSriov(location.device);
}

/** The iommufd to bind to, and the same as `own` where the device is to close it. */
export interface Target {
  iommufd: Iommufd;
  own: Iommufd | undefined;
}

function chooseIommufd({ location, roots }: DeviceNode, given: Iommufd | undefined): Target {
  if (given !== undefined) return { iommufd: given, own: undefined };
  const own = Iommufd.openFor(roots);
  tellStep('open', location.device.address);
  return { iommufd: own, own };
}

/** @throws TypeError `ERR_INVALID_ARG_TYPE` for what is there and no Iommufd */
export function checkIommufd(given: unknown, required = false): void {
  if ((given === undefined && !required) || Iommufd.isIommufd(given)) return;
  throw invalidType('iommufd', 'an Iommufd', given);
}

function bound(node: DeviceNode, answer: Answer, target: Target, why: string): BoundCdev {
  const call = ioctlOf(node.location, 'VFIO_DEVICE_BIND_IOMMUFD');
  const device = new BoundCdev(node, check(answer, call), target, why);
  if (!device.backend.isolated) warnOfNoiommu(node.location.device);
  return device;
}

/** The node's descriptor may have been closed while the bind was refused. */
function subjectOf({ roots, location, fd }: DeviceNode): Subject {
  const own = fd.closed ? undefined : fd.number;
  return { roots, device: location.device, node: location, own };
}
