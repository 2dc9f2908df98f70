import type { Area } from './mappable.ts';
import type { RegionOwner } from './owner.ts';

/** What a mapping is of. @internal */
export interface MappedArea extends Area {
  owner: RegionOwner;
  /** The region's name. */
  name: string;
  readOnly: { start: number; end: number };
}
