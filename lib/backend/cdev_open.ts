import { parseUuid } from '../core/arguments.ts';
import type { Answer, NativeFd } from '../core/binding.ts';
import { check, ioctlOf } from '../core/call.ts';
import { EINVAL } from '../core/errno.ts';
import type { SysfsDevice } from '../core/location.ts';
import { tellStep } from '../core/open_steps.ts';
import type { DeviceNode } from '../core/owned_fd.ts';
import { call, closing, type Steps, undoing } from '../core/steps.ts';
import { processWarning } from '../core/warnings.ts';
import { explaining } from '../diagnose/explain.ts';
import type { Subject } from '../diagnose/subject.ts';
import { Iommufd } from '../iommu/iommufd.ts';
import { readLinkName } from '../locate/sysfs.ts';
import { virtfnsOf } from '../locate/virtual_functions.ts';
import { type BindTarget, BoundCdev } from './cdev_device.ts';
import { warnOfNoiommu } from './kinds.ts';
import type { KvmVfio } from './kvm_vfio.ts';
import { readOpened } from './opened.ts';

/** How a cdev is bound. */
export interface BindWay {
  iommufd?: Iommufd | undefined;
  vfToken?: string | undefined;
  /** The VM that is to have the device: KVM is told before it is bound. */
  kvm?: KvmVfio | undefined;
  /** Why by its cdev. */
  why?: string;
  signal?: AbortSignal | undefined;
}

/**
 * Binds an open node to an iommufd (VFIO_DEVICE_BIND_IOMMUFD), to the one given or to one that is
 * opened for this device and closed with it, and reads what the kernel says of the device. Where it
 * does not bind, the node is open as before; where it cannot be read, it is closed.
 */
export function* bindNode(node: DeviceNode, way: BindWay = {}): Steps<BoundCdev> {
  const { iommufd: given, vfToken } = way;
  const token = vfToken === undefined ? undefined : parseUuid('vfToken', vfToken);
  const target = chooseIommufd(node, given);
  const opening = bindFor(node, target, token, way);
  const told = explaining(opening, () => subjectOf(node));
  return yield* undoing(told, closing(target.own));
}

/** KVM keeps the node open from then on, so it is removed again where it does not bind. */
function* bindFor(
  node: DeviceNode,
  target: BindTarget,
  token: Uint8Array | undefined,
  way: BindWay,
): Steps<BoundCdev> {
  const { native } = target.iommufd.owned;
  const first = (kvm?: NativeFd): Steps<Answer> => call('bind', node.fd.native, native, token, kvm);
  const finish = (answer: Answer): Steps<BoundCdev> =>
    bindAndRead(node, target, bind(node, target, token, answer), way);
  if (way.kvm === undefined) return yield* finish(yield* first());
  const [member, answer] = yield* way.kvm.joinBy(node.fd, first);
  const device = yield* undoing(finish(answer), member.leave());
  return device.belongsTo(member);
}

function* bindAndRead(
  node: DeviceNode,
  target: BindTarget,
  binding: Steps<number>,
  { why = 'asked for', signal }: BindWay,
): Steps<BoundCdev> {
  const devId = yield* binding;
  const info = yield* readOpened(node, signal);
  const device = new BoundCdev(node, info, devId, target, why);
  if (!device.backend.isolated) warnOfNoiommu(node.location.device);
  return device;
}

/** Answers the device's id in the iommufd, after what came of binding it with the token. */
function* bind(
  node: DeviceNode,
  { iommufd }: BindTarget,
  token: Uint8Array | undefined,
  first: Answer,
): Steps<number> {
  let answer = first;
  if (isTokenUnknown(node, answer, token)) {
    answer = yield* call('bind', node.fd.native, iommufd.owned.native);
    if (answer !== undefined && answer >= 0) warnOfToken(node.location.device);
  }
  return check(answer, ioctlOf(node.location, 'VFIO_DEVICE_BIND_IOMMUFD'));
}

/** A kernel that knows no tokens answers EINVAL, as for any other mistake. */
function isTokenUnknown({ location }: DeviceNode, answer: Answer, token: unknown): boolean {
  return answer === EINVAL && token !== undefined && isSriov(location.device);
}

function chooseIommufd({ location, roots }: DeviceNode, given: Iommufd | undefined): BindTarget {
  if (given !== undefined) return { iommufd: given, own: undefined };
  const own = Iommufd.openFor(roots);
  tellStep('open', location.device.address);
  return { iommufd: own, own };
}

/** The node's descriptor may have been closed while the bind was refused. */
function subjectOf({ roots, location, fd }: DeviceNode): Subject {
  const own = fd.closed ? undefined : fd.number;
  return { roots, device: location.device, node: location, own };
}

/** Whether the device is a virtual function, or has some: only then can a token mean anything. */
function isSriov({ sysfsPath }: SysfsDevice): boolean {
  if (readLinkName(`${sysfsPath}/physfn`) !== undefined) return true;
  return virtfnsOf({ sysfsPath }).length > 0;
}

/** Kernels before 6.17 know no tokens on this path: they let everybody in. */
function warnOfToken({ address }: SysfsDevice): void {
  const message = `${address} was opened without its VF token: this kernel (older than 6.17) does not check tokens of devices that are opened by their cdev`;
  processWarning(message, 'VFIO_VF_TOKEN_NOT_CHECKED');
}
