import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { describe, it } from 'mocha';
import { type Answer, binding, type NativeFd } from '../../lib/core/binding.ts';
import { OwnedFd } from '../../lib/core/owned_fd.ts';
import { DmaBuffer, Iommufd } from '../../lib/index.ts';
import { decodeFaults, FaultQueue } from '../../lib/iommu/fault_queue.ts';
import { readHardwareInfo } from '../../lib/iommu/hardware_info.ts';
import type { Hwpt } from '../../lib/iommu/hwpt.ts';
import { Ioas } from '../../lib/iommu/ioas.ts';
import { failure } from '../support/errors.ts';
import { withBinding } from '../support/fake_binding.ts';
import { put } from '../support/kernel_bytes.ts';
import { tree } from '../support/tree.ts';

// What no IOMMU of the lab does: the arguments that the kernel would get, and what is made of its
// answers.

const device = { devId: 5 };

function fakeIommufd(): OwnedFd {
  return OwnedFd.open('/dev/null', 'the fake iommufd');
}

describe('a page table of the hardware', () => {
  const calls: unknown[][] = [];
  const fakes = {
    ioasMapMemorySync: (): bigint => 0x10000n,
    hwptAlloc: (_fd: NativeFd, ...args: unknown[]): Promise<number> => {
      calls.push(args);
      return Promise.resolve(9);
    },
    hwptSetDirtyTracking: (_fd: NativeFd, ...args: unknown[]): Promise<number> => {
      calls.push(args);
      return Promise.resolve(0);
    },
    hwptGetDirtyBitmap: (_fd: NativeFd, ...args: unknown[]): Promise<BigUint64Array> => {
      calls.push(args);
      return Promise.resolve(BigUint64Array.of((1n << 63n) | 1n, 2n));
    },
  };

  async function made(body: (hwpt: Hwpt, ioas: Ioas) => Promise<void>): Promise<void> {
    calls.length = 0;
    const fd = fakeIommufd();
    await withBinding(fakes, async () => {
      const ioas = Ioas.adopt(Iommufd.adopt(fd).parent, 3);
      await body(await ioas.createHwpt(device, { dirtyTracking: true, nestParent: true }), ioas);
    });
    fd.closeSync();
  }

  it('is made with the flags of what it is for', () =>
    made(async (hwpt, ioas) => {
      assert.deepEqual(calls, [[5, 3, 3, 0, 0, new Uint8Array(0)]]);
      assert.equal(hwpt.id, 9);
      assert.equal(hwpt.ioas, ioas);
      await hwpt.setDirtyTracking(true);
      await hwpt.setDirtyTracking(false);
      assert.deepEqual(calls.slice(1), [
        [9, 1],
        [9, 0],
      ]);
    }));

  it('tells which pages were written, a bit for each', () =>
    made(async (hwpt, ioas) => {
      const size = 66 * 4096;
      ioas.mapSync(DmaBuffer.allocateSync(size));
      const range = { iova: 0x10000n, length: BigInt(size) };
      const dirty = await hwpt.readDirty(range);
      assert.deepEqual(calls.at(-1), [9, 0, 0x10000n, BigInt(size), 4096n, 2]);
      const pages = [0x10000n, 0x10000n + 63n * 4096n, 0x10000n + 65n * 4096n];
      assert.deepEqual([...dirty], pages);
      assert.ok(dirty.has(0x10fffn) && !dirty.has(0x11000n));
      assert.ok(!dirty.has(0xffffn) && !dirty.has(0x10000n + BigInt(size)));
      await hwpt.readDirty({ ...range, pageSize: 8192n, clear: false });
      assert.deepEqual(calls.at(-1), [9, 1, 0x10000n, BigInt(size), 8192n, 1]);
    }));

  it('is not asked of what is not mapped, since the kernel would answer nothing', () =>
    made(async (hwpt, ioas) => {
      const map = (iova: bigint): unknown =>
        withBinding({ ioasMapMemorySync: () => iova }, () =>
          ioas.mapSync(DmaBuffer.allocateSync(4096)),
        );
      await map(0x2000n);
      await map(0x1000n);
      await hwpt.readDirty({ iova: 0x1000n, length: 0x2000n });
      const refused = [
        { iova: 0x1000n, length: 0x3000n },
        { iova: 0n, length: 0x2000n },
        { iova: 0x1000n, length: 0n },
        { iova: 0x1001n, length: 0x1000n },
        { iova: 0x1000n, length: 0x1000n, pageSize: 3n },
        { iova: 0x1000n, length: 2n ** 40n },
      ];
      for (const range of refused) await failure(() => hwpt.readDirty(range), 'ERR_OUT_OF_RANGE');
    }));
});

describe('a fault queue', () => {
  /** A struct iommu_hwpt_pgfault. */
  function fault(flags: number, permissions: number): Uint8Array {
    const bytes = new Uint8Array(40);
    const u32 = { 0: flags, 4: 5, 8: 77, 12: 2, 16: permissions, 32: 4096, 36: 0xfffffff0 };
    put(bytes, { u32, u64: { 24: 0xfffffffffffff000n } });
    return bytes;
  }

  it('has faults of the kernel’s layout', () => {
    const common = {
      devId: 5,
      group: 2,
      iova: 0xfffffffffffff000n,
      length: 4096,
      cookie: 0xfffffff0,
    };
    const no = { read: false, write: false, execute: false, privileged: false };
    const bytes = Buffer.concat([fault(1, 1), fault(2, 2), fault(3, 12)]);
    assert.deepEqual(decodeFaults(bytes), [
      { ...common, ...no, pasid: 77, last: false, read: true },
      { ...common, ...no, pasid: undefined, last: true, write: true },
      { ...common, ...no, pasid: 77, last: true, execute: true, privileged: true },
    ]);
    assert.deepEqual(decodeFaults(bytes.subarray(0, 39)), []);
  });

  it('is read and answered through its descriptor', async () => {
    const file = `${tree({ queue: '' })}/queue`;
    writeFileSync(file, fault(2, 1));
    const faultQueueAlloc = (_fd: NativeFd, out: Uint32Array): Answer => {
      out[0] = 6;
      return binding().open(file, 2);
    };
    const iommufd = fakeIommufd();
    const queue = await withBinding({ faultQueueAlloc }, () => FaultQueue.create(iommufd));
    assert.equal(queue.id, 6);
    assert.equal(queue.read().length, 1);
    queue.respond(0xfffffff0, true);
    queue.respond(1, false);
    const answers = readFileSync(file).subarray(40);
    assert.deepEqual([...answers], [0xf0, 255, 255, 255, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]);
    await failure(() => {
      queue.respond(-1, true);
    }, 'ERR_OUT_OF_RANGE');
    const destroyed: unknown[] = [];
    const destroy = (_fd: NativeFd, id: number): Promise<number> => {
      destroyed.push(id);
      return Promise.resolve(-16);
    };
    await withBinding({ destroy }, () => queue.close());
    await queue.close();
    assert.deepEqual(destroyed, [6], 'and EBUSY, of a page table that uses it, is no error');
    await failure(() => queue.read(), 'ERR_VFIO_CLOSED');
    iommufd.closeSync();
  });
});

describe('the hardware’s information', () => {
  async function read(out: bigint[], bytes: number): Promise<ReturnType<typeof readHardwareInfo>> {
    const fd = fakeIommufd();
    const getHwInfo = (
      _fd: NativeFd,
      devId: number,
      type: number | undefined,
      words: BigUint64Array,
      data: BigUint64Array,
    ): Answer => {
      assert.deepEqual([devId, type], [5, undefined]);
      words.set(out);
      data[0] = 0x1234n;
      return bytes;
    };
    const info = await withBinding({ getHwInfo }, () => readHardwareInfo(fd, 5));
    fd.closeSync();
    return info;
  }

  it('has a name for what is known, and the kernel’s number for what is not', async () => {
    const vtd = await read([1n, 1n, 20n], 24);
    assert.deepEqual([vtd.type, vtd.dirtyTracking, vtd.maxPasids], ['intel-vtd', true, 2 ** 20]);
    assert.deepEqual([vtd.data.length, vtd.data[0]], [24, 0x34]);
    const unknown = await read([8n, 77n, 0n], 4096);
    assert.deepEqual([unknown.type, unknown.dirtyTracking, unknown.maxPasids], [77, false, 0]);
    assert.equal(unknown.data.length, 512, 'no more than there was room for');
    assert.equal((await read([0n, 0n, 0n], 0)).data.length, 0);
  });
});
