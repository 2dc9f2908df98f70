import type { OpenedDevice } from '../device/opened.ts';
import { removalCause } from '../diagnose/removal.ts';
import type { PeerMaps } from '../iommu/peer_maps.ts';
import type { Interrupts } from '../interrupt/interrupts.ts';
import type { Cause } from '../reasons.ts';
import type { Region } from '../region/region.ts';
import type { Steps } from '../steps.ts';

/** PCI's Command register. */
const PCI_COMMAND = 4;

/** What a reset has to know of a device, and to establish again. */
export class Resettable {
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
   * A reset failed, and may have gone part of the way: before all else the kernel takes away where other
   * devices reach the memory.
   */
  *restorePeers(): Steps<void> {
    yield* this.#peers.reset();
  }

  /**
   * What the device has before a reset. Calling the answer establishes it again: the bits of the
   * Command register, of which bus mastering is one, the interrupts that are enabled, and where other
   * devices reach its memory.
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
