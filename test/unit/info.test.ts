import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { Answer, Binding, NativeFd } from '../../lib/core/binding.ts';
import type { DeviceInfo } from '../../lib/info/decode.ts';
import { decodeInfo, readDeviceInfo } from '../../lib/info/read.ts';
import { failure } from '../support/errors.ts';
import { withBinding } from '../support/fake_binding.ts';
import { put, putCapability } from '../support/kernel_bytes.ts';

const device = 1 as NativeFd;
const read = (): DeviceInfo =>
  decodeInfo(readDeviceInfo(device, { syscall: 'ioctl', device: 'dev' }));
const EINVAL = -22;
const EIO = -5;

const bytesOf = (room: Uint32Array): Uint8Array =>
  new Uint8Array(room.buffer, room.byteOffset, room.byteLength);

/** Fills the struct of one index; answers 0 or -errno. */
type FillIndex = (index: number, bytes: Uint8Array) => number;

const plainRegion: FillIndex = (index, bytes) => {
  put(bytes, { u32: { 0: 32, 4: 3, 8: index }, u64: { 16: 4096n } });
  return 0;
};

const plainIrq: FillIndex = (index, bytes) => {
  put(bytes, { u32: { 0: 16, 4: 1, 8: index, 12: 1 } });
  return 0;
};

const all =
  (fill: FillIndex, size: number) =>
  (_device: NativeFd, count: number, results: Int32Array, room: Uint32Array): Answer => {
    const bytes = bytesOf(room);
    for (let index = 0; index < count; index++) {
      results[index] = fill(index, bytes.subarray(index * size, (index + 1) * size));
    }
    return 0;
  };

/** A kernel whose PCI device has this many regions and interrupts. */
function kernel(
  regions: number,
  irqs: number,
  region: FillIndex = plainRegion,
  irq: FillIndex = plainIrq,
): Partial<Binding> {
  return {
    getDeviceInfo: (_device, _bytes, room) => {
      put(bytesOf(room), { u32: { 0: 24, 4: 2, 8: regions, 12: irqs } });
      return 0;
    },
    getRegionInfos: all(region, 32),
    getRegionInfo: (_device, index, bytes, room) => region(index, bytesOf(room).subarray(0, bytes)),
    getIrqInfos: all(irq, 16),
  };
}

describe('readDeviceInfo', () => {
  it('asks for every index', async () => {
    const info = await withBinding(kernel(3, 2), read);
    assert.deepEqual(
      info.regions.map(({ name }) => name),
      ['bar0', 'bar1', 'bar2'],
    );
    assert.deepEqual(
      info.irqs.map(({ name }) => name),
      ['intx', 'msi'],
    );
  });

  it('lets an index that the kernel refuses shift nothing', async () => {
    const region: FillIndex = (index, bytes) => (index === 8 ? EINVAL : plainRegion(index, bytes));
    const { regions } = await withBinding(kernel(11, 0, region), read);
    assert.deepEqual(
      regions.map(({ index }) => index),
      [0, 1, 2, 3, 4, 5, 6, 7, 9, 10],
    );
    assert.equal(regions.at(-1)?.name, 'region10');
  });

  it('asks again with the room that the kernel wants, also where that grows', async () => {
    const rooms: number[] = [];
    const region: FillIndex = (index, bytes) => {
      rooms.push(bytes.length);
      const wanted = rooms.length === 1 ? 1000 : 2000;
      put(bytes, { u32: { 0: wanted, 4: 8, 8: index, 12: 0 } });
      if (bytes.length < wanted) return 0;
      put(bytes, { u32: { 12: 1992 } });
      putCapability(bytes, 1992, { id: 3 });
      return 0;
    };
    const { regions } = await withBinding(kernel(1, 0, region), read);
    assert.deepEqual(rooms, [32, 1000, 2000]);
    assert.deepEqual(regions[0]?.capabilities, [{ kind: 'msix-mappable' }]);
  });

  it('does not believe an answer that wants more room than any struct has', async () => {
    const region: FillIndex = (_index, bytes) => {
      put(bytes, { u32: { 0: 0xffffffff } });
      return 0;
    };
    await withBinding(kernel(1, 0, region), () => failure(read, 'ERR_VFIO_BAD_ANSWER'));
    await withBinding(kernel(0, 0xffffffff), () => failure(read, 'ERR_VFIO_BAD_ANSWER'));
  });

  it('reports every other error, with its request', async () => {
    const requests: [Partial<Binding>, string, string][] = [
      [kernel(1, 0, () => EIO), 'EIO', 'VFIO_DEVICE_GET_REGION_INFO'],
      [kernel(0, 1, plainRegion, () => EIO), 'EIO', 'VFIO_DEVICE_GET_IRQ_INFO'],
      [{ getDeviceInfo: () => EINVAL }, 'EINVAL', 'VFIO_DEVICE_GET_INFO'],
    ];
    for (const [fakes, code, request] of requests) {
      const error = await withBinding(fakes, () => failure(read, code));
      assert.ok(error.message.includes(`ioctl ${request} dev`), error.message);
    }
  });
});
