import { setImmediate as turn } from 'node:timers/promises';
import type { Binding } from '../../lib/binding.ts';
import { put } from './kernel_bytes.ts';

const bytesOf = (room: Uint32Array): Uint8Array =>
  new Uint8Array(room.buffer, room.byteOffset, room.byteLength);

/** Room that the region wants for its capability. */
const withCapability = 48;

async function later(answer: number): Promise<number> {
  await turn();
  return answer;
}

/** What the kernel says to ioctls on a device with a region and an interrupt, and on an iommufd. */
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
  destroy: () => later(0),
  destroySync: () => 0,
  getDeviceInfo: (_device, _bytes, room) => {
    put(bytesOf(room), { u32: { 0: 24, 4: 2, 8: 1, 12: 1 } });
    return 0;
  },
  getRegionInfos: (_device, _count, results, room) => {
    results[0] = 0;
    put(bytesOf(room), { u32: { 0: withCapability, 4: 11, 8: 0 }, u64: { 16: 4096n } });
    return 0;
  },
  getRegionInfo: (_device, _index, bytes, room) => {
    put(bytesOf(room), { u32: { 0: bytes, 4: 11, 8: 0, 12: 32, 36: 0 }, u16: { 32: 3, 34: 1 } });
    put(bytesOf(room), { u64: { 16: 4096n, 24: 0n } });
    return 0;
  },
  getIrqInfos: (_device, _count, results, room) => {
    results[0] = 0;
    put(bytesOf(room), { u32: { 0: 16, 4: 1, 8: 0, 12: 1 } });
    return 0;
  },
};
