import { invalidType } from '../arguments.ts';
import { binding, type Answer } from '../binding.ts';
import { check } from '../call.ts';
import { explain, explainSync } from '../diagnose/explain.ts';
import type { Subject } from '../diagnose/subject.ts';
import { Iommufd } from '../iommu/iommufd.ts';
import type { CdevLocation } from '../locate/find_cdev.ts';
import type { Roots } from '../locate/roots.ts';
import type { OwnedFd } from '../owned_fd.ts';
import { closeAndThrow, closeSyncAndThrow } from '../undo.ts';
import { parseUuid } from '../feature/uuid.ts';
import { ioctlOf } from './ioctl_of.ts';
import type { CdevNode } from './node.ts';
import { isSriov, warnOfToken } from './vf_token.ts';

/** A bound device: the descriptors that keep it so, and their order of closing. */
export class BoundCdev {
  readonly location: CdevLocation;
  readonly roots: Roots;
  readonly fd: OwnedFd;
  /** The device's id in the iommufd: cannot be asked of the kernel later. */
  readonly devId: number;
  readonly iommufd: Iommufd;
  readonly #ownIommufd: Iommufd | undefined;

  constructor({ location, fd, roots }: CdevNode, devId: number, { iommufd, own }: Target) {
    this.location = location;
    this.roots = roots;
    this.fd = fd;
    this.devId = devId;
    this.iommufd = iommufd;
    this.#ownIommufd = own;
  }

  async close(): Promise<void> {
    try {
      await this.fd.close();
    } finally {
      await this.#ownIommufd?.close();
    }
  }

  closeSync(): void {
    try {
      this.fd.closeSync();
    } finally {
      this.#ownIommufd?.closeSync();
    }
  }
}

/**
 * Binds an open node to an iommufd (VFIO_DEVICE_BIND_IOMMUFD): to the one given, or to one that is
 * opened for this device and closed with it. After a failure the node is open as before.
 */
export async function bindNode(
  node: CdevNode,
  given?: Iommufd,
  vfToken?: string,
): Promise<BoundCdev> {
  const token = tokenOf(vfToken);
  const target = chooseIommufd(node, given);
  try {
    const { native } = target.iommufd.owned;
    let answer: Answer = await binding().bind(node.fd.native, native, token);
    if (isTokenUnknown(node, answer, token)) {
      answer = await binding().bind(node.fd.native, native);
      if (answer !== undefined && answer >= 0) warnOfToken(node.location.device);
    }
    return bound(node, answer, target);
  } catch (error) {
    const explained = await explain(error, () => subjectOf(node));
    return await closeAndThrow(explained, async () => target.own?.close());
  }
}

/** As {@link bindNode}, blocking. */
export function bindNodeSync(node: CdevNode, given?: Iommufd, vfToken?: string): BoundCdev {
  const token = tokenOf(vfToken);
  const target = chooseIommufd(node, given);
  try {
    const { native } = target.iommufd.owned;
    let answer = binding().bindSync(node.fd.native, native, token);
    if (isTokenUnknown(node, answer, token)) {
      answer = binding().bindSync(node.fd.native, native);
      if (answer !== undefined && answer >= 0) warnOfToken(node.location.device);
    }
    return bound(node, answer, target);
  } catch (error) {
    const explained = explainSync(error, () => subjectOf(node));
    return closeSyncAndThrow(explained, () => target.own?.closeSync());
  }
}

const EINVAL = -22;

function tokenOf(vfToken: string | undefined): Uint8Array | undefined {
  return vfToken === undefined ? undefined : parseUuid('vfToken', vfToken);
}

/** A kernel that knows no tokens answers EINVAL, as for any other mistake. */
function isTokenUnknown({ location }: CdevNode, answer: Answer, token: unknown): boolean {
  return answer === EINVAL && token !== undefined && isSriov(location.device);
}

/** The iommufd to bind to, and the same as `own` where the device is to close it. */
interface Target {
  iommufd: Iommufd;
  own: Iommufd | undefined;
}

function chooseIommufd({ roots }: CdevNode, given: Iommufd | undefined): Target {
  if (given !== undefined) return { iommufd: given, own: undefined };
  const own = Iommufd.openFor(roots);
  return { iommufd: own, own };
}

/** @throws TypeError `ERR_INVALID_ARG_TYPE` for what is there and no Iommufd */
export function checkIommufd(given: unknown): void {
  if (given === undefined || Iommufd.isIommufd(given)) return;
  throw invalidType('iommufd', 'an Iommufd', given);
}

function bound(node: CdevNode, answer: Answer, target: Target): BoundCdev {
  const call = ioctlOf(node.location, 'VFIO_DEVICE_BIND_IOMMUFD');
  return new BoundCdev(node, check(answer, call), target);
}

/** The node's descriptor may have been closed while the bind was refused. */
function subjectOf({ roots, location, fd }: CdevNode): Subject {
  const own = fd.closed ? undefined : fd.number;
  return { roots, device: location.device, cdev: location, own };
}

export { ioctlOf } from './ioctl_of.ts';
