import { decodeExpress, expressMinimum, type PciExpressRegisters } from './express.ts';
import { decodeFields, type FieldTable } from './fields.ts';
import type {
  PciAdvancedFeatures,
  PciMsiControl,
  PciMsixControl,
  PciPowerCapability,
  PciPowerControl,
} from './register_values.ts';
import { type PlacedCapability, standardChain, viewOf } from './walk.ts';

// The standard capabilities (PCI Local Bus Specification 3.0, 6.7 and appendix H; PCI Bus Power
// Management Interface Specification; Advanced Capabilities for Conventional PCI).

/** Where a capability is, and all of its bytes: up to the next one, or the end. */
export interface CapabilityPlace {
  /** The capability's number. */
  id: number;
  /** What the specification calls it; null where it knows none of this id. */
  name: string | null;
  /** Where it begins in the configuration space. */
  offset: number;
  /** Its bytes, header included, up to the next. */
  bytes: Uint8Array;
}

const powerCapabilityFields: FieldTable<PciPowerCapability> = {
  version: [0, 3],
  pmeClock: [3, 1],
  deviceSpecificInit: [5, 1],
  auxCurrent: [6, 3],
  d1: [9, 1],
  d2: [10, 1],
  pmeFromD0: [11, 1],
  pmeFromD1: [12, 1],
  pmeFromD2: [13, 1],
  pmeFromD3hot: [14, 1],
  pmeFromD3cold: [15, 1],
};

export const powerControlFields: FieldTable<PciPowerControl> = {
  powerState: [0, 2],
  noSoftReset: [3, 1],
  pmeEnable: [8, 1],
  dataSelect: [9, 4],
  dataScale: [13, 2],
  pmeStatus: [15, 1],
};

const msiControlFields: FieldTable<PciMsiControl> = {
  enable: [0, 1],
  vectors: [1, 3, 'power'],
  vectorsEnabled: [4, 3, 'power'],
  is64Bit: [7, 1],
  maskable: [8, 1],
};

const msixControlFields: FieldTable<PciMsixControl> = {
  vectors: [0, 11, 'minus-one'],
  masked: [14, 1],
  enable: [15, 1],
};

const advancedFeatureFields: FieldTable<PciAdvancedFeatures> = {
  transactionsPending: [0, 1],
  flr: [1, 1],
};

/** Bytes of a BAR from `offset` on. */
export interface BarPlace {
  /** The BAR, 0 to 5. */
  bar: number;
  /** Bytes from the BAR's start. */
  offset: number;
}

/** A standard capability. `unknown` is one that is not decoded, or cut off. */
export type PciCapability = CapabilityPlace &
  (
    | {
        kind: 'pm';
        capability: PciPowerCapability;
        control: PciPowerControl;
      }
    | {
        kind: 'msi';
        control: PciMsiControl;
        address: bigint;
        data: number;
        /** A bit a vector; null where vectors cannot be masked. */
        mask: number | null;
        pending: number | null;
      }
    | {
        kind: 'msix';
        control: PciMsixControl;
        table: BarPlace;
        /** The pending bits. */
        pba: BarPlace;
      }
    | ({ kind: 'pcie' } & PciExpressRegisters)
    | { kind: 'vendor'; length: number; data: Uint8Array }
    | { kind: 'ssvid'; vendor: number; device: number }
    | { kind: 'af'; capability: PciAdvancedFeatures }
    | { kind: 'unknown' }
  );

type Decoded<Capability> = Capability extends CapabilityPlace
  ? Omit<Capability, keyof CapabilityPlace>
  : never;

/** What decodes a capability, and how many bytes it looks at. */
interface Decoder<Result> {
  minimum: (view: DataView) => number;
  decode: (view: DataView) => Result;
}

const decoders: Record<number, Decoder<Decoded<PciCapability>>> = {
  0x01: { minimum: () => 6, decode: decodePower },
  0x05: { minimum: msiLength, decode: decodeMsi },
  0x09: { minimum: (view) => Math.max(3, view.getUint8(2)), decode: decodeVendor },
  0x0d: { minimum: () => 8, decode: decodeSubsystem },
  0x10: { minimum: expressMinimum, decode: (view) => ({ kind: 'pcie', ...decodeExpress(view) }) },
  0x11: { minimum: () => 12, decode: decodeMsix },
  0x13: { minimum: () => 6, decode: decodeAdvancedFeatures },
};

const names: Record<number, string> = {
  0x01: 'power management',
  0x02: 'AGP',
  0x03: 'vital product data',
  0x04: 'slot identification',
  0x05: 'MSI',
  0x06: 'CompactPCI hot swap',
  0x07: 'PCI-X',
  0x08: 'HyperTransport',
  0x09: 'vendor-specific',
  0x0a: 'debug port',
  0x0b: 'CompactPCI resource control',
  0x0c: 'hot-plug controller',
  0x0d: 'subsystem of a bridge',
  0x0e: 'AGP 8x',
  0x0f: 'secure device',
  0x10: 'PCI Express',
  0x11: 'MSI-X',
  0x12: 'SATA index and data',
  0x13: 'advanced features',
  0x14: 'enhanced allocation',
  0x15: 'flattening portal bridge',
};

/** Decodes a standard capability. One that is cut off, or not known, stays `unknown`. */
export function decodeCapability(config: Uint8Array, placed: PlacedCapability): PciCapability {
  const { id, offset, end } = placed;
  const bytes = config.slice(offset, end);
  const decoded = decodeWith(decoders[id], viewOf(bytes));
  return { id, name: names[id] ?? null, offset, bytes, ...(decoded ?? { kind: 'unknown' }) };
}

/**
 * What a decoder makes of the bytes, of which a chain leaves each capability four at least;
 * undefined where there is none, or they are too few.
 */
export function decodeWith<Result>(
  decoder: Decoder<Result> | undefined,
  view: DataView,
): Result | undefined {
  if (decoder === undefined || view.byteLength < decoder.minimum(view)) return undefined;
  return decoder.decode(view);
}

/** The fields of the 16-bit register at an offset in a capability. */
export function fields16<Values>(view: DataView, at: number, table: FieldTable<Values>): Values {
  return decodeFields(view.getUint16(at, true), table);
}

/** Like {@link fields16}, for 32 bits. */
export function fields32<Values>(view: DataView, at: number, table: FieldTable<Values>): Values {
  return decodeFields(view.getUint32(at, true), table);
}

function decodePower(view: DataView): Decoded<PciCapability> {
  return {
    kind: 'pm',
    capability: fields16(view, 2, powerCapabilityFields),
    control: fields16(view, 4, powerControlFields),
  };
}

/** The address has 4 bytes or 8; masks and pending bits are there where vectors can be masked. */
function msiLength(view: DataView): number {
  const { is64Bit, maskable } = fields16(view, 2, msiControlFields);
  return (is64Bit ? 14 : 10) + (maskable ? 10 : 0);
}

function decodeMsi(view: DataView): Decoded<PciCapability> {
  const control = fields16(view, 2, msiControlFields);
  const high = control.is64Bit ? view.getUint32(8, true) : 0;
  const data = control.is64Bit ? 12 : 8;
  return {
    kind: 'msi',
    control,
    address: (BigInt(high) << 32n) | BigInt(view.getUint32(4, true)),
    data: view.getUint16(data, true),
    mask: control.maskable ? view.getUint32(data + 4, true) : null,
    pending: control.maskable ? view.getUint32(data + 8, true) : null,
  };
}

function decodeMsix(view: DataView): Decoded<PciCapability> {
  return {
    kind: 'msix',
    control: fields16(view, 2, msixControlFields),
    table: barPlace(view.getUint32(4, true)),
    pba: barPlace(view.getUint32(8, true)),
  };
}

function barPlace(value: number): BarPlace {
  return { bar: value & 7, offset: (value & ~7) >>> 0 };
}

function decodeVendor(view: DataView): Decoded<PciCapability> {
  const length = view.getUint8(2);
  const { buffer, byteOffset } = view;
  const data = new Uint8Array(buffer.slice(byteOffset + 3, byteOffset + Math.max(3, length)));
  return { kind: 'vendor', length, data };
}

function decodeSubsystem(view: DataView): Decoded<PciCapability> {
  return { kind: 'ssvid', vendor: view.getUint16(4, true), device: view.getUint16(6, true) };
}

function decodeAdvancedFeatures(view: DataView): Decoded<PciCapability> {
  return { kind: 'af', capability: decodeFields(view.getUint8(3), advancedFeatureFields) };
}

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
