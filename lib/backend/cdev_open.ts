import { parseUuid } from '../core/arguments.ts';
import { type Answer, binding } from '../core/binding.ts';
import { check, ioctlOf } from '../core/call.ts';
import type { SysfsDevice } from '../core/location.ts';
import { tellStep } from '../core/open_steps.ts';
import type { DeviceNode } from '../core/owned_fd.ts';
import { closeAndThrow, closeSyncAndThrow } from '../core/steps.ts';
import { processWarning } from '../core/warnings.ts';
import { explain, explainSync } from '../diagnose/explain.ts';
import type { Subject } from '../diagnose/subject.ts';
import { Iommufd } from '../iommu/iommufd.ts';
import { readAttribute, readLinkName } from '../locate/sysfs.ts';
import { BoundCdev, type Target } from './cdev_device.ts';
import { warnOfNoiommu } from './kinds.ts';

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

function chooseIommufd({ location, roots }: DeviceNode, given: Iommufd | undefined): Target {
  if (given !== undefined) return { iommufd: given, own: undefined };
  const own = Iommufd.openFor(roots);
  tellStep('open', location.device.address);
  return { iommufd: own, own };
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

/** Whether the device is a virtual function, or has some: only then can a token mean anything. */
export function isSriov({ sysfsPath }: SysfsDevice): boolean {
  if (readLinkName(`${sysfsPath}/physfn`) !== undefined) return true;
  return Number(readAttribute(`${sysfsPath}/sriov_numvfs`) ?? 0) > 0;
}

/** Kernels before 6.17 know no tokens on this path: they let everybody in. */
export function warnOfToken({ address }: SysfsDevice): void {
  const message = `${address} was opened without its VF token: this kernel (older than 6.17) does not check tokens of devices that are opened by their cdev`;
  processWarning(message, 'VFIO_VF_TOKEN_NOT_CHECKED');
}
