/** Where a capability stands in the configuration space, and how many bytes are its own. */
export interface PlacedCapability {
  id: number;
  /** The version of an extended capability; 0 otherwise. */
  version: number;
  offset: number;
  /** Up to where the next one starts, or the end of the space. */
  end: number;
}

/** A chain of capabilities, and what is wrong with it where something is. */
export interface Chain {
  capabilities: PlacedCapability[];
  /** Why the chain was not followed to its end. */
  problem?: string;
}

/** PCI's own configuration space; beyond it is PCI Express's. */
export const conventionalSize = 0x100;

const headerSize = 0x40;
const STATUS = 0x06;
const STATUS_HAS_CAPABILITIES = 1 << 4;
const HEADER_TYPE = 0x0e;
const CARDBUS_BRIDGE = 2;

/**
 * The chain of standard capabilities: `{u8 id; u8 next}`, below byte 256 (PCI Local Bus
 * Specification 3.0, 6.7).
 */
export function standardChain(bytes: Uint8Array): Chain {
  const view = viewOf(bytes);
  if (bytes.length < headerSize) return { capabilities: [] };
  if ((view.getUint16(STATUS, true) & STATUS_HAS_CAPABILITIES) === 0) return { capabilities: [] };
  const isCardBus = (view.getUint8(HEADER_TYPE) & 0x7f) === CARDBUS_BRIDGE;
  if (bytes.length === headerSize) {
    const problem = `capabilities are not known: the first ${headerSize} bytes were read, and the device has some beyond`;
    return { capabilities: [], problem };
  }
  const end = Math.min(bytes.length, conventionalSize);
  return follow(view.getUint8(isCardBus ? 0x14 : 0x34) & ~3, headerSize, end, 0xff, (offset) => ({
    id: view.getUint8(offset),
    version: 0,
    next: view.getUint8(offset + 1) & ~3,
  }));
}

/**
 * The chain of extended capabilities, from byte 256 on: `id` in the low 16 bits, then 4 of the
 * version, then 12 of the next one's offset (PCI Express Base Specification, 7.6.3). A device
 * without any has zeroes or ones there.
 */
export function extendedChain(bytes: Uint8Array): Chain {
  if (bytes.length < conventionalSize + 4) return { capabilities: [] };
  const view = viewOf(bytes);
  const first = view.getUint32(conventionalSize, true);
  if (first === 0xffff_ffff) return { capabilities: [] };
  const chain = follow(conventionalSize, conventionalSize, bytes.length, 0xffff, (offset) => {
    const header = view.getUint32(offset, true);
    return { id: header & 0xffff, version: (header >>> 16) & 0xf, next: (header >>> 20) & ~3 };
  });
  // The id 0 is none: of a first one it only says where the others begin, as vfio-pci hides one.
  return { ...chain, capabilities: chain.capabilities.filter(({ id }) => id !== 0) };
}

type ReadHeader = (offset: number) => { id: number; version: number; next: number };

/** Follows a chain; `nothing` is the id, all ones, that reads where no capability is. */
function follow(
  first: number,
  lowest: number,
  end: number,
  nothing: number,
  read: ReadHeader,
): Chain {
  const found = new Map<number, PlacedCapability>();
  const chain = (problem?: string): Chain => {
    const capabilities = [...found.values()].map((one) => ({
      ...one,
      end: endOf(one, found, end),
    }));
    return problem === undefined ? { capabilities } : { capabilities, problem };
  };
  for (let offset = first; offset !== 0;) {
    const at = `0x${offset.toString(16)}`;
    if (found.has(offset)) return chain(`the capabilities meet themselves at ${at}`);
    if (offset < lowest) return chain(`a capability at ${at} is in the header`);
    if (offset + 4 > end) return chain(`the capabilities go on at ${at}, where nothing was read`);
    const { id, version, next } = read(offset);
    if (id === nothing) return chain(`there is nothing at ${at}, where the capabilities go on`);
    found.set(offset, { id, version, offset, end });
    offset = next;
  }
  return chain();
}

function endOf({ offset }: PlacedCapability, all: Map<number, unknown>, end: number): number {
  const following = [...all.keys()].filter((other) => other > offset);
  return Math.min(end, ...following);
}

export function viewOf({ buffer, byteOffset, length }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, length);
}
