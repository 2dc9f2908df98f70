import { decodePciConfig, type PciCapability, type PciExtendedCapability } from '../index.ts';

// What a write to the configuration space did. Most bits read as they were written, or are read-only. Others
// are written with 1 to clear a status, or to start something: these read 0 whatever was written.

/** Such bits of 16-bit registers, by their offset. */
type Bits = readonly (readonly [offset: number, bits: number])[];

const ofDevice: Bits = [[0x06, 0xf900]];
const ofBridge: Bits = [...ofDevice, [0x1e, 0xf900]];

/** In a capability, by its offset there: status registers, and what starts a reset or a training. */
function ofCapability(capability: PciCapability | PciExtendedCapability): Bits {
  switch (capability.kind) {
    case 'pm':
      return [[0x04, 0x8000]];
    case 'pcie':
      return [
        [0x08, 0x8000],
        [0x0a, 0x004f],
        ...(capability.linkStatus ? ([[0x10, 0x0020], [0x12, 0xc000]] as const) : []), // prettier-ignore
        ...(capability.linkStatus2 ? ([[0x32, 0x0020]] as const) : []),
      ];
    case 'af':
      return [[0x04, 0x0001]];
    case 'aer':
      return [
        [0x04, 0xffff],
        [0x06, 0xffff],
        [0x10, 0xffff],
        [0x12, 0xffff],
      ];
    case 'sriov':
      return [[0x0a, 0x0001]];
    case 'pri':
      return [[0x06, 0x0003]];
    default:
      return [];
  }
}

/** The bits of `bytes` bytes at an offset that are written with 1 to clear or to start something. */
export function clearingBits(space: Uint8Array, offset: number, bytes: number): bigint {
  const { headerType, capabilities, extendedCapabilities } = decodePciConfig(space);
  const all = [
    ...(headerType === 1 ? ofBridge : ofDevice),
    ...[...capabilities, ...extendedCapabilities].flatMap((capability) =>
      ofCapability(capability).map(([at, bits]) => [capability.offset + at, bits] as const),
    ),
  ];
  let found = 0n;
  for (const [at, bits] of all) {
    const shift = (at - offset) * 8;
    found |= shift < 0 ? BigInt(bits) >> BigInt(-shift) : BigInt(bits) << BigInt(shift);
  }
  return BigInt.asUintN(bytes * 8, found);
}

/** A register before and after a write. */
export interface Written {
  before: bigint;
  value: bigint;
  after: bigint;
  /** {@link clearingBits} */
  clearing: bigint;
}

/**
 * The bits that did not take the value. One that was 1, was written 1 and reads 0 was cleared, in
 * whichever register.
 */
export function untaken({ before, value, after, clearing }: Written): bigint {
  const cleared = before & value & ~after;
  const different = (value ^ after) & ~clearing & ~cleared;
  return different | (clearing & value & after);
}
