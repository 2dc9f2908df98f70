import { decodeFields, type FieldTable } from './fields.ts';
import type { PciCommand, PciStatus } from './register_values.ts';
import { viewOf } from './walk.ts';

// The first 64 bytes of the configuration space (PCI Local Bus Specification 3.0, 6.1 and 6.2).

export const commandFields: FieldTable<PciCommand> = {
  io: [0, 1],
  memory: [1, 1],
  busMaster: [2, 1],
  specialCycles: [3, 1],
  memoryWriteInvalidate: [4, 1],
  vgaSnoop: [5, 1],
  parityError: [6, 1],
  stepping: [7, 1],
  systemError: [8, 1],
  fastBackToBack: [9, 1],
  interruptDisable: [10, 1],
};

const statusFields: FieldTable<PciStatus> = {
  interrupt: [3, 1],
  capabilities: [4, 1],
  is66MHz: [5, 1],
  fastBackToBack: [7, 1],
  parityError: [8, 1],
  devselTiming: [9, 2],
  signalledTargetAbort: [11, 1],
  receivedTargetAbort: [12, 1],
  receivedMasterAbort: [13, 1],
  signalledSystemError: [14, 1],
  detectedParityError: [15, 1],
};

/** A base address register. */
export type PciBar =
  | { index: number; kind: 'io'; address: number }
  | {
      index: number;
      kind: 'memory';
      /** 64 bits take the next register as well. */
      bits: 32 | 64;
      prefetchable: boolean;
      address: bigint;
    };

/** The expansion ROM's base address register. */
export interface PciRom {
  /** Whether it is decoded. */
  enabled: boolean;
  /** Its bus address. */
  address: number;
}

/** What every function has. */
export interface PciHeader {
  /**
   * Whether the function answered. One that is gone or asleep reads as all ones: what else is said
   * here of it is then not so.
   */
  responds: boolean;
  /** The id of who made it. */
  vendor: number;
  /** The vendor's id of the device. */
  device: number;
  /** The Command register. */
  command: PciCommand;
  /** The Status register. */
  status: PciStatus;
  /** Revision id. */
  revision: number;
  /** Base class, sub-class and programming interface: `0x010802` is an NVMe controller. */
  class: number;
  /** In units of four bytes. */
  cacheLineSize: number;
  /** In clocks of the bus; 0 on PCI Express. */
  latencyTimer: number;
  /** 0 a device, 1 a bridge to PCI, 2 one to CardBus. */
  headerType: number;
  /** Whether the device has more functions. */
  multifunction: boolean;
  /** The register of the built-in self-test. */
  bist: number;
  /** Those that are not 0: an address, or a kind, was put there. */
  bars: PciBar[];
  /** What a device has (header type 0). */
  subsystem: { vendor: number; device: number } | null;
  /** What a bridge has (header type 1). */
  bridge: { primaryBus: number; secondaryBus: number; subordinateBus: number } | null;
  /** Where the expansion ROM is; null where its register is 0, or the header type has none. */
  rom: PciRom | null;
  /** What the firmware noted of where INTx goes. */
  interruptLine: number;
  /** `A` to `D`; null without an interrupt of that kind. */
  interruptPin: string | null;
}

export const headerSize = 64;

/**
 * Whether a header is that of a function which answers. Reserved bits of the status register are 0.
 * The ids say nothing: a virtual function has ones there, and VFIO shows them also of a device that
 * is gone.
 */
export function responds(bytes: Uint8Array): boolean {
  const view = viewOf(bytes);
  return view.getUint16(6, true) !== 0xffff || view.getUint32(8, true) !== 0xffff_ffff;
}

/** How many base address registers each header type has, and where its ROM's is. */
const layouts = [
  { bars: 6, rom: 0x30 },
  { bars: 2, rom: 0x38 },
  { bars: 0, rom: undefined },
];

/** Decodes the header; `bytes` has 64 at least. */
export function decodeHeader(bytes: Uint8Array): PciHeader {
  const view = viewOf(bytes);
  const u8 = (at: number): number => view.getUint8(at);
  const u16 = (at: number): number => view.getUint16(at, true);
  const headerType = u8(0x0e) & 0x7f;
  const { bars, rom } = layouts[headerType] ?? { bars: 0, rom: undefined };
  return {
    responds: responds(bytes),
    vendor: u16(0),
    device: u16(2),
    command: decodeFields(u16(4), commandFields),
    status: decodeFields(u16(6), statusFields),
    revision: u8(8),
    class: view.getUint32(8, true) >>> 8,
    cacheLineSize: u8(0x0c),
    latencyTimer: u8(0x0d),
    headerType,
    multifunction: (u8(0x0e) & 0x80) !== 0,
    bist: u8(0x0f),
    bars: decodeBars(view, bars),
    subsystem: headerType === 0 ? { vendor: u16(0x2c), device: u16(0x2e) } : null,
    bridge:
      headerType === 1
        ? { primaryBus: u8(0x18), secondaryBus: u8(0x19), subordinateBus: u8(0x1a) }
        : null,
    rom: rom === undefined ? null : decodeRom(view.getUint32(rom, true)),
    interruptLine: u8(0x3c),
    interruptPin: ['A', 'B', 'C', 'D'][u8(0x3d) - 1] ?? null,
  };
}

function decodeBars(view: DataView, count: number): PciBar[] {
  const bars: PciBar[] = [];
  for (let index = 0; index < count; index++) {
    const value = view.getUint32(0x10 + index * 4, true);
    if (value === 0) continue;
    if ((value & 1) !== 0) {
      bars.push({ index, kind: 'io', address: (value & ~3) >>> 0 });
      continue;
    }
    const isWide = (value & 6) === 4 && index + 1 < count;
    const high = isWide ? view.getUint32(0x14 + index * 4, true) : 0;
    bars.push({
      index,
      kind: 'memory',
      bits: isWide ? 64 : 32,
      prefetchable: (value & 8) !== 0,
      address: (BigInt(high) << 32n) | BigInt((value & ~15) >>> 0),
    });
    if (isWide) index++;
  }
  return bars;
}

function decodeRom(value: number): PciRom | null {
  if (value === 0) return null;
  return { enabled: (value & 1) !== 0, address: (value & ~0x7ff) >>> 0 };
}
