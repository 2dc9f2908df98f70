import {
  badAnswer,
  littleEndian,
  type RawCapability,
  requireBytes,
  walkCapabilities,
} from '../core/structs.ts';

// Decoders of linux/vfio.h's info structs: pure functions over the bytes that the kernel filled.

/** What the kernel says of a device (VFIO_DEVICE_GET_INFO and what follows from it). */
export interface DeviceInfo {
  /**
   * `reset`, `pci`, `platform`, `amba`, `ccw`, `ap`, `fsl-mc`, `caps`, `cdx`; `0x…` for another
   * bit.
   */
  flags: string[];
  /** What the kernel adds to the device's info. */
  capabilities: DeviceCapability[];
  /** In the order of their index; an index that the device does not have is not there. */
  regions: RegionInfo[];
  /** The device's interrupts, each at its index as `regions` are. */
  irqs: IrqInfo[];
}

/** A region of the device fd (struct vfio_region_info). */
export interface RegionInfo {
  /** The region's number, by which the kernel is asked. */
  index: number;
  /** `bar0` … `bar5`, `rom`, `config`, `vga` on PCI; `region<index>` otherwise. */
  name: string;
  /** Bytes; 0 where the device does not implement the region. */
  size: number;
  /** Where the region starts in the device fd. Opaque: use it, never compute it. */
  offset: bigint;
  /** `read`, `write`, `mmap`, `caps`. */
  flags: string[];
  /** What the kernel adds to the region's info. */
  capabilities: RegionCapability[];
}

/** An interrupt index (struct vfio_irq_info). */
export interface IrqInfo {
  /** The interrupt's number, by which the kernel is asked. */
  index: number;
  /** `intx`, `msi`, `msix`, `err`, `req` on PCI; `irq<index>` otherwise. */
  name: string;
  /** Vectors; 0 where the device has none. */
  count: number;
  /** `eventfd`, `maskable`, `automasked`, `noresize`. */
  flags: string[];
}

/** A capability that this package does not decode. */
export interface UnknownCapability extends RawCapability {
  /** That it is not decoded. */
  kind: 'unknown';
}

/** What the kernel adds to a device's info (VFIO_DEVICE_INFO_CAP_*). */
export type DeviceCapability =
  | UnknownCapability
  /**
   * Widths of PCIe atomic operations that the root complex completes: `comp32`, `comp64`,
   * `comp128`.
   */
  | { kind: 'pci-atomic-comp'; flags: string[] };

/** What the kernel adds to a region's info (VFIO_REGION_INFO_CAP_*). */
export type RegionCapability =
  | UnknownCapability
  /** Only these parts of the region may be mapped. */
  | { kind: 'sparse-mmap'; areas: { offset: number; size: number }[] }
  /** What a device-specific region is for. */
  | { kind: 'type'; type: number; subtype: number }
  /** The pages of the MSI-X table may be mapped with the rest of the BAR. */
  | { kind: 'msix-mappable' };

const deviceFlags = ['reset', 'pci', 'platform', 'amba', 'ccw', 'ap', 'fsl-mc', 'caps', 'cdx'];
const regionFlags = ['read', 'write', 'mmap', 'caps'];
const irqFlags = ['eventfd', 'maskable', 'automasked', 'noresize'];
const atomicFlags = ['comp32', 'comp64', 'comp128'];

const pciRegions = ['bar0', 'bar1', 'bar2', 'bar3', 'bar4', 'bar5', 'rom', 'config', 'vga'];
const pciIrqs = ['intx', 'msi', 'msix', 'err', 'req'];
const apIrqs = ['req', 'cfg-chg'];
const ccwIrqs = ['io', 'crw', 'req'];

/** Sizes of the bare structs. */
export const deviceInfoSize = 24;
export const regionInfoSize = 32;
export const irqInfoSize = 16;

const VFIO_DEVICE_FLAGS_CAPS = 1 << 7;
const VFIO_REGION_INFO_FLAG_CAPS = 1 << 3;

/** struct vfio_device_info; kernels before 5.10 fill only its first 16 bytes. */
export function decodeDeviceInfo(view: DataView): Pick<DeviceInfo, 'flags' | 'capabilities'> {
  requireBytes(view, 0, 16);
  const bits = view.getUint32(4, littleEndian);
  const hasCapabilities = (bits & VFIO_DEVICE_FLAGS_CAPS) !== 0;
  if (hasCapabilities) requireBytes(view, 16, 4);
  const chain = hasCapabilities ? view.getUint32(16, littleEndian) : 0;
  return {
    flags: flagNames(bits, deviceFlags),
    capabilities: walkCapabilities(view, chain).map(decodeDeviceCapability),
  };
}

/** The flags alone. */
export function decodeDeviceFlags(view: DataView): string[] {
  requireBytes(view, 0, 16);
  return flagNames(view.getUint32(4, littleEndian), deviceFlags);
}

/** struct vfio_region_info. `names` are those of the device's regions. */
export function decodeRegionInfo(view: DataView, names: readonly string[]): RegionInfo {
  requireBytes(view, 0, regionInfoSize);
  const bits = view.getUint32(4, littleEndian);
  const index = view.getUint32(8, littleEndian);
  const hasCapabilities = (bits & VFIO_REGION_INFO_FLAG_CAPS) !== 0;
  const chain = hasCapabilities ? view.getUint32(12, littleEndian) : 0;
  return {
    index,
    name: names[index] ?? `region${index}`,
    size: safeNumber(view, 16, 'the size of a region'),
    offset: view.getBigUint64(24, littleEndian),
    flags: flagNames(bits, regionFlags),
    capabilities: walkCapabilities(view, chain).map(decodeRegionCapability),
  };
}

/** struct vfio_irq_info. `names` are those of the device's interrupts. */
export function decodeIrqInfo(view: DataView, names: readonly string[]): IrqInfo {
  requireBytes(view, 0, irqInfoSize);
  const index = view.getUint32(8, littleEndian);
  return {
    index,
    name: names[index] ?? `irq${index}`,
    count: view.getUint32(12, littleEndian),
    flags: flagNames(view.getUint32(4, littleEndian), irqFlags),
  };
}

/** How the regions of a device with these flags are called, by index (enums in linux/vfio.h). */
export function regionNames(device: readonly string[]): readonly string[] {
  return device.includes('pci') ? pciRegions : [];
}

/** The names of its interrupts, by index. */
export function irqNames(device: readonly string[]): readonly string[] {
  if (device.includes('pci')) return pciIrqs;
  if (device.includes('ap')) return apIrqs;
  return device.includes('ccw') ? ccwIrqs : [];
}

function decodeDeviceCapability(capability: RawCapability): DeviceCapability {
  const { id, data } = capability;
  if (id !== 5) return { kind: 'unknown', ...capability };
  const view = structIn(data, 4);
  return {
    kind: 'pci-atomic-comp',
    flags: flagNames(view.getUint32(0, littleEndian), atomicFlags),
  };
}

function decodeRegionCapability(capability: RawCapability): RegionCapability {
  const { id, data } = capability;
  if (id === 1) return { kind: 'sparse-mmap', areas: decodeSparseAreas(data) };
  if (id === 2) {
    const view = structIn(data, 8);
    const type = view.getUint32(0, littleEndian);
    return { kind: 'type', type, subtype: view.getUint32(4, littleEndian) };
  }
  if (id === 3) return { kind: 'msix-mappable' };
  return { kind: 'unknown', ...capability };
}

/** struct vfio_region_info_cap_sparse_mmap without its header. */
function decodeSparseAreas(data: Uint8Array): { offset: number; size: number }[] {
  const view = structIn(data, 8);
  const count = view.getUint32(0, littleEndian);
  requireBytes(view, 8, count * 16);
  return Array.from({ length: count }, (_, area) => ({
    offset: safeNumber(view, 8 + area * 16, 'the offset of a mappable area'),
    size: safeNumber(view, 16 + area * 16, 'the size of a mappable area'),
  }));
}

function structIn(data: Uint8Array, size: number): DataView {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  requireBytes(view, 0, size);
  return view;
}

function flagNames(bits: number, names: readonly string[]): string[] {
  const set = names.filter((_, bit) => (bits & (1 << bit)) !== 0);
  for (let bit = names.length; bits >>> bit !== 0 && bit < 32; bit++) {
    const mask = (1 << bit) >>> 0;
    if ((bits & mask) !== 0) set.push(`0x${mask.toString(16)}`);
  }
  return set;
}

/** A u64 that fits a number, as every size and offset within a region does; another is refused. */
function safeNumber(view: DataView, at: number, what: string): number {
  const low = view.getUint32(at + (littleEndian ? 0 : 4), littleEndian);
  const high = view.getUint32(at + (littleEndian ? 4 : 0), littleEndian);
  if (high > 0x1fffff) {
    throw badAnswer(`${what} is ${view.getBigUint64(at, littleEndian)}, more than 2^53`);
  }
  return high * 0x100000000 + low;
}
