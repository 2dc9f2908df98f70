import type { RegionInfo } from '../device/decode.ts';
import type { DeviceNode } from '../device/node.ts';
import type { PeerMaps } from '../iommu/peer_maps.ts';
import { allDone, doAll } from '../undo.ts';

/** What a device closes before itself. */
export interface Mapped {
  close(): Promise<void>;
  closeSync(): void;
}

/** The mappings of one device that are open: they would keep it bound after it is closed. */
export class OpenMappings {
  readonly #open = new Set<Mapped>();

  add(mapped: Mapped): void {
    this.#open.add(mapped);
  }

  delete(mapped: Mapped): void {
    this.#open.delete(mapped);
  }

  async close(): Promise<void> {
    await allDone([...this.#open].map((mapped) => mapped.close()));
  }

  closeSync(): void {
    const undo = [...this.#open].map((mapped) => () => {
      mapped.closeSync();
    });
    doAll(undo);
  }
}

/** The bound device that a region is of. */
export interface RegionOwner extends Pick<DeviceNode, 'fd' | 'location'> {
  mappings: OpenMappings;
  /** Where other devices reach its memory. */
  peers: PeerMaps;
  /** Its configuration space, where it is a PCI device. */
  config: RegionInfo | undefined;
}
