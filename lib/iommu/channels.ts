import { type Channel, channel } from 'node:diagnostics_channel';
import type { DmaMapping } from './mapping.ts';

/** What the channel `vfio:map` tells of each map, once it is made or refused. */
export interface MapMessage {
  /** Undefined where it was refused. */
  mapping: DmaMapping | undefined;
  /** In bytes. */
  size: number;
  /** Why it was refused: a {@link VfioError}. */
  error?: unknown;
}

/**
 * What the channel `vfio:unmap` tells of a mapping that is unmapped, or gone with its address
 * space. Those that go with their iommufd or container are told late, or never: `mapping.mapped` is
 * false from then on.
 */
export interface UnmapMessage {
  /** The mapping, which is over. */
  mapping: DmaMapping;
}

/** Looked at for each map, so a plain one: nothing is made where nobody listens. */
export const maps: Channel = channel('vfio:map');

export const unmaps: Channel = channel('vfio:unmap');
