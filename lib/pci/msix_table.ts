import { standardChain, viewOf } from './walk.ts';

/** Where a device has its MSI-X table: bytes of a BAR that the kernel alone writes. */
export interface MsixTable {
  /** 0 to 5. */
  bar: number;
  /** The table's first byte in the BAR. */
  start: number;
  /** The first byte after it. */
  end: number;
}

/** The capability's id, and the size of a vector's entry. */
const MSIX = 0x11;
const entrySize = 16;

/** The MSI-X table that the capability names; undefined where the device has none. */
export function msixTable(config: Uint8Array): MsixTable | undefined {
  const placed = standardChain(config).capabilities.find(({ id }) => id === MSIX);
  if (placed === undefined || placed.offset + 12 > config.length) return undefined;
  const view = viewOf(config);
  const vectors = (view.getUint16(placed.offset + 2, true) & 0x7ff) + 1;
  const place = view.getUint32(placed.offset + 4, true);
  const start = (place & ~7) >>> 0;
  return { bar: place & 7, start, end: start + vectors * entrySize };
}
