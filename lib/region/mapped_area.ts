import type { Area } from './mappable.ts';
import type { RegionOwner } from './owner.ts';

/** What a mapping is of. @internal */
export interface MappedArea extends Area {
  owner: Pick<RegionOwner, 'fd' | 'location' | 'mappings'>;
  /** The region's name. */
  name: string;
  readOnly: { start: number; end: number };
  /** Where the region is in the device's descriptor, the kernel's number in two halves. */
  high: number;
  low: number;
}
