import type { NativeFd } from '../core/binding.ts';
import { ioctlOf } from '../core/call.ts';
import type { Backend, NodeLocation, Roots } from '../core/location.ts';
import { tellStep } from '../core/open_steps.ts';
import type { DeviceNode, OwnedFd } from '../core/owned_fd.ts';
import { throwIfAborted } from '../core/readiness.ts';
import type { Cause } from '../core/reasons.ts';
import type { SharedToken } from '../core/shared_token.ts';
import { closing, type Steps, undoAndThrow } from '../core/steps.ts';
import { type RawDeviceInfo, readDeviceInfo } from '../info/read.ts';
import type { AddressSpace } from '../iommu/address_space.ts';
import type { Iommufd } from '../iommu/iommufd.ts';
import type { Container } from './container.ts';
import type { PasidOptions } from './pasid.ts';

/** Where a device's DMA goes: the address space that it is attached to, or none. */
export interface Attachment {
  /**
   * Answers the id of the page table that the kernel put the device on, or one of its process
   * address spaces.
   */
  attach(target: unknown, options: PasidOptions): Promise<number>;
  attachSync(target: unknown, options: PasidOptions): number;
  detach(options: PasidOptions): Promise<void>;
  detachSync(options: PasidOptions): void;
  /** The device is closed, which detaches it. */
  forget(): void;
}

/** An open device, whichever way it was opened: the descriptors that keep it so. */
export interface OpenedDevice {
  /** The device and the node by which it was opened. */
  readonly location: NodeLocation;
  readonly roots: Roots;
  readonly fd: OwnedFd;
  /** What KVM is told of: the device itself, or its group. */
  readonly kvmFile: OwnedFd;
  readonly backend: Backend;
  /** What the kernel said of it when it was opened. */
  readonly rawInfo: RawDeviceInfo;
  /** Its id in its iommufd; the kernel tells it to those only who bind a cdev. */
  readonly devId: number | undefined;
  readonly iommufd: Iommufd | undefined;
  readonly container: Container | undefined;
  readonly attachment: Attachment;
  /** The same for all devices that a hot reset may hit together. */
  readonly resetScope: object;
  /** Whether it has that IOMMU group, so that nobody else can have its devices. */
  hasGroup(group: number): boolean;
  /**
   * The descriptors of those groups, which prove to the kernel that it has them; none of a cdev's.
   */
  groupFds(groups: readonly number[]): NativeFd[];
  /** An address space that the device can be attached to. */
  createIoas(): AddressSpace;
  /** For another thread; the descriptor is offered to it. @throws VfioError `ERR_VFIO_CLOSED` */
  share(): SharedToken<'device' | 'group-device'>;
  /**
   * It is going to be closed by somebody else than the program, and all that it closes with itself.
   */
  closesBecause(cause: Cause): void;
  close(): Promise<void>;
  closeSync(): void;
}

/**
 * The last step of an opening: reads what the kernel says of the device. Closes it where that
 * fails, and where the opening was aborted.
 */
export function* readOpened(
  { fd, location }: DeviceNode,
  signal?: AbortSignal,
): Steps<RawDeviceInfo> {
  const { address } = location.device;
  try {
    throwIfAborted(signal);
    tellStep('bind', address);
    const info = readDeviceInfo(fd.native, ioctlOf(location));
    tellStep('info', address);
    return info;
  } catch (error) {
    return yield* undoAndThrow(error, closing(fd));
  }
}
