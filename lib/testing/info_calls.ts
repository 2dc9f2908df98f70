import { EINVAL } from '../core/errno.ts';
import type { Fakes } from './calls.ts';
import type { FakeDevice } from './fake_device.ts';
import { irqIndex } from './irq_lines.ts';
import { StructWriter } from './kernel_structs.ts';
import type { Machine } from './machine.ts';

/** Numbers of PCI's regions and interrupts in VFIO. */
const regionCount = 9;
const irqCount = 5;
export const configIndex = 7;

// VFIO_DEVICE_FLAGS_*, VFIO_REGION_INFO_FLAG_*
const [RESET, PCI] = [1, 2];
const [READ, WRITE, MMAP, CAPS] = [1, 2, 4, 8];

const regionInfoSize = 32;
const irqInfoSize = 16;
/** With VFIO_REGION_INFO_CAP_MSIX_MAPPABLE, which has a header alone. */
const withCapability = 40;

/** Where a region is in the descriptor: as vfio-pci has it, in the high bits. */
function offsetOf(index: number): bigint {
  return BigInt(index) << 40n;
}

/** VFIO_DEVICE_GET_INFO, GET_REGION_INFO and GET_IRQ_INFO. */
export function infoCalls(machine: Machine): Fakes {
  return {
    getDeviceInfo: (handle, _bytes, room) => {
      const device = machine.bound(handle);
      if (device === undefined) return EINVAL;
      const flags = (device.options.reset ?? true) ? RESET | PCI : PCI;
      new StructWriter(room).u32(0, 24).u32(4, flags).u32(8, regionCount).u32(12, irqCount);
      new StructWriter(room).u32(16, 0);
      return 0;
    },
    getRegionInfos: (handle, count, results, room) => {
      const device = machine.bound(handle);
      if (device === undefined) return EINVAL;
      for (let index = 0; index < count; index++) {
        results[index] = writeRegion(device, index, room, index * regionInfoSize, regionInfoSize);
      }
      return 0;
    },
    getRegionInfo: (handle, index, bytes, room) => {
      const device = machine.bound(handle);
      return device === undefined ? EINVAL : writeRegion(device, index, room, 0, bytes);
    },
    getIrqInfos: (handle, count, results, room) => {
      const device = machine.bound(handle);
      if (device === undefined) return EINVAL;
      for (let index = 0; index < count; index++) {
        const vectors = device.irqs.counts[index];
        // As vfio-pci answers of functions that are not PCI Express.
        const isAbsent = vectors === undefined || (index === irqIndex.err && vectors === 0);
        results[index] = isAbsent ? EINVAL : 0;
        if (isAbsent) continue;
        new StructWriter(room, index * irqInfoSize)
          .u32(0, irqInfoSize)
          .u32(4, device.irqs.flagsOf(index))
          .u32(8, index)
          .u32(12, vectors);
      }
      return 0;
    },
  };
}

function writeRegion(
  device: FakeDevice,
  index: number,
  room: Uint32Array,
  start: number,
  bytes: number,
): number {
  // VGA, which no such function has.
  if (index >= regionCount - 1) return EINVAL;
  const bar = device.bars.get(index);
  const config = index === configIndex ? device.config.bytes.length : 0;
  const hasTable = bar !== undefined && device.table?.bar === index && bar.canMap;
  const access = bar !== undefined || config > 0 ? READ | WRITE : 0;
  const flags = access | (bar?.canMap ? MMAP : 0) | (hasTable ? CAPS : 0);
  const struct = new StructWriter(room, start);
  struct
    .u32(0, hasTable ? withCapability : regionInfoSize)
    .u32(4, flags)
    .u32(8, index)
    .u32(12, hasTable && bytes >= withCapability ? regionInfoSize : 0)
    .u64(16, BigInt(bar?.size ?? config))
    .u64(24, offsetOf(index));
  if (hasTable && bytes >= withCapability) struct.u16(32, 3).u16(34, 1).u32(36, 0);
  return 0;
}
