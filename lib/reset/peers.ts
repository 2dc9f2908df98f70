import type { Iommufd } from '../iommu/iommufd.ts';
import type { Resettable } from './resettable.ts';

/** The open devices of each iommufd by their ids, held weakly. */
const peers = new WeakMap<Iommufd, Map<number, WeakRef<Resettable>>>();

/** A device is open from here on. */
export function enrol(device: Resettable): void {
  const { iommufd, devId } = device.bound;
  const known = peers.get(iommufd) ?? new Map<number, WeakRef<Resettable>>();
  known.set(devId, new WeakRef(device));
  peers.set(iommufd, known);
}

/** It is closed. The kernel may give its id to another, which is enrolled in its place. */
export function dismiss(device: Resettable): void {
  const { iommufd, devId } = device.bound;
  const known = peers.get(iommufd);
  if (known?.get(devId)?.deref() === device) known.delete(devId);
}

/** The open device of that id in the same iommufd, where this thread has it. */
export function peerOf({ bound }: Resettable, devId: number): Resettable | undefined {
  return peers.get(bound.iommufd)?.get(devId)?.deref();
}
