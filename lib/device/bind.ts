import { invalidType } from '../arguments.ts';
import { binding, type Answer } from '../binding.ts';
import { check, type CallName } from '../call.ts';
import { explain, explainSync } from '../diagnose/explain.ts';
import type { Subject } from '../diagnose/subject.ts';
import { Iommufd } from '../iommu/iommufd.ts';
import type { CdevLocation } from '../locate/find_cdev.ts';
import type { Roots } from '../locate/roots.ts';
import type { OwnedFd } from '../owned_fd.ts';
import { closeAndThrow, closeSyncAndThrow } from '../undo.ts';
import type { CdevNode } from './node.ts';

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
export async function bindNode(node: CdevNode, given?: Iommufd): Promise<BoundCdev> {
  const target = chooseIommufd(node, given);
  try {
    const answer = await binding().bind(node.fd.native, target.iommufd.owned.native);
    return bound(node, answer, target);
  } catch (error) {
    const explained = await explain(error, () => subjectOf(node));
    return await closeAndThrow(explained, async () => target.own?.close());
  }
}

/** As {@link bindNode}, blocking. */
export function bindNodeSync(node: CdevNode, given?: Iommufd): BoundCdev {
  const target = chooseIommufd(node, given);
  try {
    const answer = binding().bindSync(node.fd.native, target.iommufd.owned.native);
    return bound(node, answer, target);
  } catch (error) {
    const explained = explainSync(error, () => subjectOf(node));
    return closeSyncAndThrow(explained, () => target.own?.closeSync());
  }
}

/** The iommufd to bind to, and the same as `own` where the device is to close it. */
interface Target {
  iommufd: Iommufd;
  own: Iommufd | undefined;
}

function chooseIommufd({ roots }: CdevNode, given: unknown): Target {
  if (given === undefined) {
    const own = Iommufd.open(roots);
    return { iommufd: own, own };
  }
  if (given instanceof Iommufd) return { iommufd: given, own: undefined };
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

/** How an ioctl on a device's node is called in errors. */
export function ioctlOf({ path, device }: CdevLocation, request?: string): CallName {
  return { syscall: 'ioctl', request, path, device: device.address };
}
