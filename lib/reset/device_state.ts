import type { OpenedDevice } from '../backend/opened.ts';
import type { Cause } from '../core/reasons.ts';
import type { Steps } from '../core/steps.ts';
import { removalCause } from '../diagnose/device_causes.ts';
import type { Interrupts } from '../interrupt/interrupts.ts';
import type { PeerMaps } from '../region/owner.ts';
import type { Region } from '../region/region.ts';

/** PCI's Command register. */
const PCI_COMMAND = 4;

/** What a reset has to know of a device, and to establish again. */
export class DeviceState {
  readonly bound: OpenedDevice;
  readonly interrupts: Interrupts;
  /** Where other devices reach its memory. */
  readonly #peers: PeerMaps;
  readonly #config: () => Region | undefined;

  /** @param config - its configuration space, where it is a PCI device */
  constructor(
    bound: OpenedDevice,
    interrupts: Interrupts,
    peers: PeerMaps,
    config: () => Region | undefined,
  ) {
    this.bound = bound;
    this.interrupts = interrupts;
    this.#peers = peers;
    this.#config = config;
  }

  /** What tells that the device is being removed: a reset will not get its lock any more. */
  get removal(): Cause<'being-removed'> | undefined {
    return removalCause(this.bound.location.device);
  }

  /**
   * A reset failed, and may have gone part of the way: before all else the kernel takes away where
   * other devices reach the memory.
   */
  *restorePeers(): Steps<void> {
    yield* this.#peers.reset();
  }

  /**
   * What the device has before a reset. Calling the answer establishes it again: the bits of the
   * Command register, of which bus mastering is one, the interrupts that are enabled, and where
   * other devices reach its memory.
   */
  remember(): () => Steps<void> {
    const config = this.#config();
    const read = config?.read16(PCI_COMMAND);
    // A device that does not answer has no Command register to establish again.
    const command = read === 0xffff ? undefined : read;
    const { interrupts } = this;
    const restorePeers = this.restorePeers.bind(this);
    return function* () {
      if (command !== undefined && config?.read16(PCI_COMMAND) !== command) {
        config?.write16(PCI_COMMAND, command);
      }
      yield* restorePeers();
      yield* interrupts.restore();
    };
  }
}

/** The open devices of each iommufd, or container, by their addresses, held weakly. */
const peers = new WeakMap<object, Map<string, WeakRef<DeviceState>>>();

/** A device is open from here on. */
export function register(device: DeviceState): void {
  const { resetScope } = device.bound;
  const known = peers.get(resetScope) ?? new Map<string, WeakRef<DeviceState>>();
  known.set(addressOf(device), new WeakRef(device));
  peers.set(resetScope, known);
}

/** It is closed. Another may have been opened at its address meanwhile, which stays. */
export function unregister(device: DeviceState): void {
  const known = peers.get(device.bound.resetScope);
  const address = addressOf(device);
  if (known?.get(address)?.deref() === device) known.delete(address);
}

/** The open device of that address in the same iommufd or container, where this thread has it. */
export function peerOf({ bound }: DeviceState, address: string): DeviceState | undefined {
  return peers.get(bound.resetScope)?.get(address)?.deref();
}

function addressOf({ bound }: DeviceState): string {
  return bound.location.device.address;
}
