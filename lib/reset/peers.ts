import type { Resettable } from './resettable.ts';

/** The open devices of each iommufd, or container, by their addresses, held weakly. */
const peers = new WeakMap<object, Map<string, WeakRef<Resettable>>>();

/** A device is open from here on. */
export function enrol(device: Resettable): void {
  const { context } = device.bound;
  const known = peers.get(context) ?? new Map<string, WeakRef<Resettable>>();
  known.set(addressOf(device), new WeakRef(device));
  peers.set(context, known);
}

/** It is closed. Another may have been opened at its address meanwhile, which stays. */
export function dismiss(device: Resettable): void {
  const known = peers.get(device.bound.context);
  const address = addressOf(device);
  if (known?.get(address)?.deref() === device) known.delete(address);
}

/** The open device of that address in the same iommufd or container, where this thread has it. */
export function peerOf({ bound }: Resettable, address: string): Resettable | undefined {
  return peers.get(bound.context)?.get(address)?.deref();
}

function addressOf({ bound }: Resettable): string {
  return bound.location.device.address;
}
