import { constants } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { binding, type Binding } from '../../lib/core/binding.ts';
import { put } from './kernel_bytes.ts';
import { openNull } from './null_fd.ts';

const bytesOf = (room: Uint32Array): Uint8Array =>
  new Uint8Array(room.buffer, room.byteOffset, room.byteLength);

const EINVAL = -22;

// VFIO_REGION_INFO_FLAG_*
const [READ, WRITE, MMAP, CAPS] = [1, 2, 4, 8];
const barFlags = READ | WRITE | MMAP | CAPS;

/** Room that the region wants for its capability. */
const withCapability = 48;

/** Bytes of the device's BAR 0. */
export const regionSize = 4096;

/** Where the configuration space is among a PCI device's regions. */
const config = 7;

/** Where memory is mapped. */
const mappedAt = 0x10_0000n;

async function later<T>(answer: T): Promise<T> {
  await turn();
  return answer;
}

/** What stands in for a descriptor that the kernel makes. */
function openLater(): Promise<number> {
  return later(openNull());
}

/**
 * What the kernel says to ioctls on a PCI device with a BAR, a configuration space, an interrupt
 * and every feature, and on an iommufd.
 */
export const fakeIoctls: Partial<Binding> = {
  bind: () => later(7),
  bindSync: () => 7,
  attach: () => later(3),
  attachSync: () => 3,
  detach: () => later(0),
  detachSync: () => 0,
  setIrqs: () => later(0),
  setIrqsSync: () => 0,
  setIrqsEventfd: () => later(0),
  setIrqsEventfdSync: () => 0,
  ioasAlloc: () => 2,
  containerVersion: () => 0,
  destroy: () => later(0),
  destroySync: () => 0,
  getDeviceInfo: (_device, _bytes, room) => {
    put(bytesOf(room), { u32: { 0: 24, 4: 2, 8: config + 1, 12: 1 } });
    return 0;
  },
  getRegionInfos: (_device, _count, results, room) => {
    results.fill(EINVAL);
    results[0] = 0;
    put(bytesOf(room), {
      u32: { 0: withCapability, 4: barFlags, 8: 0 },
      u64: { 16: BigInt(regionSize) },
    });
    results[config] = 0;
    const struct = bytesOf(room).subarray(config * 32);
    put(struct, { u32: { 0: 32, 4: READ | WRITE, 8: config }, u64: { 16: 256n, 24: 0n } });
    return 0;
  },
  getRegionInfo: (_device, _index, bytes, room) => {
    const u32 = { 0: bytes, 4: barFlags, 8: 0, 12: 32, 36: 0 };
    put(bytesOf(room), { u32, u16: { 32: 3, 34: 1 } });
    put(bytesOf(room), { u64: { 16: BigInt(regionSize), 24: 0n } });
    return 0;
  },
  getIrqInfos: (_device, _count, results, room) => {
    results[0] = 0;
    put(bytesOf(room), { u32: { 0: 16, 4: 1, 8: 0, 12: 1 } });
    return 0;
  },
  feature: (_device, _flags, bytes) => later(bytes),
  featureSync: (_device, _flags, bytes) => bytes,
  iommufdProbe: () => EINVAL,
  ioasMapFile: () => later(mappedAt),
  ioasMapFileSync: () => mappedAt,
  ioasMapMemoryFile: () => later(mappedAt),
  ioasMapMemoryFileSync: () => mappedAt,
  hwptAlloc: () => later(9),
  hwptAllocSync: () => 9,
  hwptInvalidate: () => later(Uint32Array.of(0, 1)),
  viommuAlloc: () => later(Uint8Array.of(10, 0, 0, 0)),
  vdeviceAlloc: () => later(11),
  veventqAlloc: () => binding().open('/dev/null', constants.O_RDWR),
  hwQueueAlloc: () => later(12),
  hwptGetDirtyBitmap: () => later(BigUint64Array.of(1n)),
  faultQueueAlloc: () => binding().open('/dev/null', constants.O_RDWR),
  dmaLoggingReport: () => later(BigUint64Array.of(5n)),
  exportDmabuf: openLater,
  setMigrationState: openLater,
  kvmCreateVfio: openLater,
};

/** And of a kernel that lets the device be opened by its group, in a container of type1. */
export const fakeGroupCalls: Partial<Binding> = {
  groupStatus: () => 1,
  groupSetContainer: () => Promise.resolve(0),
  groupSetContainerSync: () => 0,
  containerCheck: () => 1,
  containerSetIommu: () => Promise.resolve(0),
  containerSetIommuSync: () => 0,
  groupGetDevice: () => Promise.resolve(openNull()),
  groupGetDeviceSync: openNull,
};
