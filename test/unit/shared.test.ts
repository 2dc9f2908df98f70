import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { describe, it } from 'mocha';
import {
  type Binding,
  binding,
  type NativeFd,
  type NativeSharedCount,
} from '../../lib/core/binding.ts';
import { OwnedFd } from '../../lib/core/owned_fd.ts';
import { DmaBuffer, DmaPool, fromShared, Iommufd, VfioDevice } from '../../lib/index.ts';
import { Eventfd } from '../../lib/interrupt/eventfd.ts';
import { InterruptVector } from '../../lib/interrupt/vector.ts';
import { Ioas } from '../../lib/iommu/ioas.ts';
import { failure } from '../support/errors.ts';
import { withBinding } from '../support/fake_binding.ts';
import { fakeIoctls } from '../support/fake_kernel.ts';
import { fakeAddress, fakeNode, fakeVfio, putNode } from '../support/fake_vfio.ts';
import { fileRegion } from '../support/file_region.ts';
import { libraryFds, openFds } from '../support/proc.ts';
import { tsWorker } from '../support/ts_worker.ts';

const worker = new URL('../support/shared_worker.ts', import.meta.url);

async function answerOf(thread: Worker): Promise<unknown> {
  // Of a worker that ends at once both may be told in one turn.
  const ended = once(thread, 'exit');
  const [answer] = (await once(thread, 'message')) as [unknown];
  await ended;
  return answer;
}

/** How many descriptors lead to /dev/full, which stands in for /dev/iommu. */
const full = (): number => libraryFds().filter((target) => target === '/dev/full').length;

const openFake = (): Iommufd => Iommufd.adopt(OwnedFd.open('/dev/full', 'the fake iommufd'));

describe('a shared object', () => {
  it('is memory that two threads see, and that outlives the first', async () => {
    const buffer = DmaBuffer.allocateSync(4096);
    const bytes = new Uint8Array(buffer.buffer);
    bytes[0] = 41;
    const token = buffer.share();
    assert.equal(await answerOf(tsWorker(worker, { workerData: token })), 41);
    assert.equal(bytes[0], 42, 'what the worker wrote');
    const second = fromShared(token);
    buffer.disposeSync();
    assert.equal(new Uint8Array(second.buffer)[0], 42);
    await failure(() => buffer.share(), 'ERR_VFIO_CLOSED');
    const third = fromShared(token);
    second.disposeSync();
    third.disposeSync();
    await new Promise(setImmediate);
    await failure(() => fromShared(token), 'ERR_VFIO_CLOSED');
  });

  it('is a mapped region, as it is mapped and where, which outlives its device’s descriptor', async () => {
    const file = fileRegion(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8), { flags: ['read', 'mmap'] });
    using mapped = file.region.map({ offset: 4 });
    const fds = openFds().length;
    const second = fromShared(mapped.share());
    assert.equal(openFds().length, fds, 'the mapping keeps the device');
    assert.deepEqual([second.name, second.offset, second.size], ['bar0', 4, 0xfc]);
    await failure(() => second.share(), 'ERR_VFIO_CLOSED');
    const token = mapped.share();
    mapped.closeSync();
    await failure(() => mapped.share(), 'ERR_VFIO_CLOSED');
    file[Symbol.dispose]();
    assert.equal(second.read32(0), 0x08070605);
    await failure(() => {
      second.write8(0, 1);
    }, 'ERR_OUT_OF_RANGE');
    await failure(() => fromShared(token), 'ERR_VFIO_CLOSED');
    await second.close();
    await failure(() => second.read8(0), 'ERR_VFIO_CLOSED');
  });

  it('is a descriptor that each thread closes for itself, also one that ends', async () => {
    const before = full();
    const iommufd = openFake();
    const token = iommufd.share();
    const number = await answerOf(tsWorker(worker, { workerData: token }));
    assert.notEqual(number, iommufd.fd);
    assert.equal(full(), before + 1, 'the worker’s went with it');
    const second = fromShared(token);
    iommufd.closeSync();
    assert.ok(second.fd >= 0);
    // Offers are the owner's that made them: the second has its own.
    await failure(() => fromShared(token), 'ERR_VFIO_CLOSED');
    const third = fromShared(second.share());
    second.closeSync();
    third.closeSync();
    assert.equal(full(), before);
  });

  it('is an address space that its last owner destroys', async () => {
    const calls: string[] = [];
    const fakes: Partial<Binding> = {
      destroySync: (_fd, id) => {
        calls.push(`destroy ${id}`);
        return 0;
      },
      destroy: (_fd, id) => {
        calls.push(`destroy ${id}`);
        return Promise.resolve(0);
      },
      ioasMapMemorySync: () => 0x1000n,
      ioasUnmap: (_fd, _ioas, iova) => {
        calls.push(`unmap ${iova}`);
        return Promise.resolve(4096n);
      },
    };
    const before = full();
    await withBinding(fakes, async () => {
      const iommufd = openFake();
      const first = Ioas.adopt(iommufd.parent, 7);
      const token = first.share();
      const second = fromShared(token);
      const third = fromShared(token);
      assert.deepEqual([second.id, third.id], [7, 7]);
      third.closeSync();
      assert.deepEqual(calls, []);
      const mapping = first.mapSync(DmaBuffer.allocateSync(4096));
      await first.close();
      await first.close();
      assert.deepEqual(calls, ['unmap 4096'], 'what the first mapped goes with it');
      assert.equal(mapping.mapped, false);
      await failure(() => first.share(), 'ERR_VFIO_CLOSED');
      second.closeSync();
      assert.deepEqual(calls, ['unmap 4096', 'destroy 7']);
      await failure(() => fromShared(token), 'ERR_VFIO_CLOSED');
      iommufd.closeSync();
    });
    assert.equal(full(), before);
  });

  it('is a mapping, which the last of its owners unmaps, with bytes for each', async () => {
    const calls: string[] = [];
    const fakes: Partial<Binding> = {
      destroySync: (_fd, id) => (calls.push(`destroy ${id}`), 0),
      destroy: (_fd, id) => (calls.push(`destroy ${id}`), Promise.resolve(0)),
      ioasMapMemorySync: () => 0x1000n,
      ioasUnmap: (_fd, _ioas, iova) => (calls.push(`unmap ${iova}`), Promise.resolve(4096n)),
      ioasUnmapSync: (_fd, _ioas, iova) => (calls.push(`unmap ${iova}`), 4096n),
    };
    const before = full();
    await withBinding(fakes, async () => {
      const iommufd = openFake();
      const ioas = Ioas.adopt(iommufd.parent, 7);
      const buffer = DmaBuffer.allocateSync(8192);
      const mapping = ioas.mapSync(buffer, { offset: 4096, length: 4096 });
      mapping.bytes[1] = 41;
      assert.equal(new Uint8Array(buffer.buffer)[4097], 41);
      const token = mapping.share();
      const second = fromShared(structuredClone(token));
      const third = fromShared(token);
      assert.deepEqual([second.iova, second.size, second.mapped], [0x1000n, 4096, true]);
      assert.equal(second.iovaOf(8), 0x1008n);
      assert.equal(full(), before + 3);
      await buffer.dispose();
      assert.deepEqual(calls, [], 'others have the mapping still');
      await failure(() => mapping.iovaOf(0), 'ERR_VFIO_CLOSED');
      await failure(() => mapping.bytes, 'ERR_VFIO_CLOSED');
      await failure(() => mapping.share(), 'ERR_VFIO_CLOSED');
      assert.equal(second.bytes[1], 41);
      const bytes = third.bytes;
      third.unmapSync();
      third.unmapSync();
      assert.deepEqual([bytes.length, calls.length, full()], [0, 0, before + 2]);
      // Its owners share the address space as well: who closes it first leaves it to the others.
      await ioas.close();
      assert.deepEqual(calls, []);
      await Promise.all([second.unmap(), second.unmap()]);
      assert.deepEqual(calls, ['unmap 4096', 'destroy 7']);
      assert.equal(full(), before + 1);
      await failure(() => fromShared(token), 'ERR_VFIO_CLOSED');
      iommufd.closeSync();
    });
    assert.equal(full(), before);
  });

  it('is a mapping that ends also where a device is attached to its address space still', async () => {
    const EBUSY = -16;
    const fakes: Partial<Binding> = {
      destroySync: () => EBUSY,
      ioasMapMemorySync: () => 0x1000n,
      ioasUnmapSync: () => 4096n,
    };
    const before = full();
    await withBinding(fakes, async () => {
      const iommufd = openFake();
      const ioas = Ioas.adopt(iommufd.parent, 7);
      const mapping = ioas.mapSync(DmaBuffer.allocateSync(4096));
      const second = fromShared(mapping.share());
      ioas.closeSync();
      second.unmapSync();
      assert.deepEqual([second.mapped, full()], [false, before + 1]);
      await failure(() => second.iovaOf(0), 'ERR_VFIO_CLOSED');
      iommufd.closeSync();
    });
  });

  it('is a mapping of which nothing stays open where it is gone', async () => {
    const fakes: Partial<Binding> = {
      destroySync: () => 0,
      ioasMapMemorySync: () => 0x1000n,
      ioasUnmapSync: () => 4096n,
    };
    await withBinding(fakes, async () => {
      const iommufd = openFake();
      const ioas = Ioas.adopt(iommufd.parent, 7);
      const buffer = DmaBuffer.allocateSync(4096);
      const mapping = ioas.mapSync(buffer);
      const token = mapping.share();
      const before = libraryFds();
      mapping.unmapSync();
      const gone = await failure(() => fromShared(token), 'ERR_VFIO_CLOSED');
      assert.equal(gone.message, 'the DMA mapping that was shared is closed');
      assert.deepEqual(libraryFds(), before);
      for (const bad of [
        { space: token.buffer },
        { buffer: token.space },
        { iova: 1 },
        { space: undefined },
      ]) {
        await failure(() => fromShared({ ...token, ...bad } as never), 'ERR_INVALID_ARG_TYPE');
      }
      // One whose iommufd is closed is mapped no more, whoever closed that.
      const other = ioas.mapSync(buffer);
      iommufd.closeSync();
      assert.ok(!other.mapped);
      await failure(() => other.iovaLow(0), 'ERR_VFIO_CLOSED');
    });
  });

  it('is a pool over the same address space, of chunks of its own', async () => {
    let next = 0n;
    const unmapped: bigint[] = [];
    const fakes: Partial<Binding> = {
      destroySync: () => 0,
      ioasMapMemorySync: () => (next += 0x100000n),
      ioasUnmapSync: (_fd, _ioas, iova) => (unmapped.push(iova), 4096n),
    };
    const before = full();
    await withBinding(fakes, async () => {
      const iommufd = openFake();
      const ioas = Ioas.adopt(iommufd.parent, 7);
      const pool = new DmaPool(ioas, { chunkSize: 8192 });
      const first = pool.allocateSync(64);
      const second = fromShared(pool.share());
      const block = second.allocateSync(64);
      assert.deepEqual([first.iova, block.iova], [0x100000n, 0x200000n]);
      await failure(() => {
        pool.release(block);
      }, 'ERR_OUT_OF_RANGE');
      second.release(block);
      second.closeSync();
      assert.deepEqual([unmapped, full()], [[0x200000n], before + 1]);
      assert.ok(first.mapped);
      // What is unmapped under a pool serves no more blocks.
      ioas.unmapAllSync();
      await failure(() => first.iovaOf(0), 'ERR_VFIO_CLOSED');
      assert.equal(pool.allocateSync(64).iova, 0x300000n);
      pool.closeSync();
      await failure(() => pool.share(), 'ERR_VFIO_CLOSED');
      ioas.closeSync();
      iommufd.closeSync();
    });
    assert.equal(full(), before);
  });

  it('is left as a whole where one of its maps does not go', async () => {
    const unmapped: bigint[] = [];
    const EBUSY = -16;
    const unmap = (_fd: NativeFd, _ioas: number, iova: bigint): bigint | number => {
      unmapped.push(iova);
      return iova === 0x1000n ? EBUSY : 4096n;
    };
    let next = 0n;
    const fakes: Partial<Binding> = {
      destroySync: () => 0,
      ioasMapMemorySync: () => (next += 0x1000n),
      ioasUnmap: (fd, ioas, iova) => Promise.resolve(unmap(fd, ioas, iova)),
      ioasUnmapSync: unmap,
    };
    const before = full();
    await withBinding(fakes, async () => {
      const iommufd = openFake();
      const first = Ioas.adopt(iommufd.parent, 7);
      for (const how of ['close', 'closeSync'] as const) {
        [next, unmapped.length] = [0n, 0];
        const second = fromShared(first.share());
        const buffers = [DmaBuffer.allocateSync(4096), DmaBuffer.allocateSync(4096)];
        for (const buffer of buffers) second.mapSync(buffer);
        await failure(() => second[how](), 'EBUSY');
        assert.deepEqual(unmapped, [0x1000n, 0x2000n], how);
        assert.equal(full(), before + 1, 'its descriptor of the iommufd is closed');
      }
      first.closeSync();
      iommufd.closeSync();
    });
    assert.equal(full(), before);
  });

  it('is a device of which nothing stays open where another thread cannot have it', async () => {
    const roots = fakeVfio();
    putNode(roots, fakeNode, '/dev/null');
    putNode(roots, 'iommu', '/dev/zero');
    const EMFILE = -24;
    // Some calls go well before the one that gets no descriptor.
    const failing = (name: 'fdTake' | 'eventfdOpen', after: number): unknown => {
      const whole = binding()[name] as (...args: unknown[]) => number;
      let calls = 0;
      return { [name]: (...args: unknown[]) => (calls++ < after ? whole(...args) : EMFILE) };
    };
    await withBinding(fakeIoctls, async () => {
      await using device = await VfioDevice.open(fakeAddress, roots);
      const token = device.share();
      const before = libraryFds();
      for (const fakes of [failing('fdTake', 1), failing('eventfdOpen', 0)]) {
        await withBinding(fakes as Partial<Binding>, () =>
          failure(() => fromShared(token), 'EMFILE'),
        );
        assert.deepEqual(libraryFds(), before);
      }
      await fromShared(token).close();
      assert.deepEqual(libraryFds(), before);
    });
  });

  it('hears of the others only once it can', async () => {
    const roots = fakeVfio();
    putNode(roots, fakeNode, '/dev/null');
    putNode(roots, 'iommu', '/dev/zero');
    const EMFILE = -24;
    const joined: number[] = [];
    const { irqsJoin: join } = binding();
    const irqsJoin: Binding['irqsJoin'] = (fd, name, told) => {
      joined.push(told);
      return join(fd, name, told);
    };
    await withBinding({ ...fakeIoctls, irqsJoin }, async () => {
      await using device = await VfioDevice.open(fakeAddress, roots);
      const before = libraryFds();
      await withBinding({ eventfdWatch: () => EMFILE }, () =>
        failure(() => device.share(), 'EMFILE'),
      );
      assert.deepEqual(libraryFds(), before);
      device.share();
      assert.ok((joined.at(-1) ?? 0) > 0, 'it told the others how to tell it');
    });
  });

  it('has one offer for as long as it lives, however often it is shared', async () => {
    const roots = fakeVfio();
    putNode(roots, fakeNode, '/dev/null');
    putNode(roots, 'iommu', '/dev/zero');
    const fakes = { ...fakeIoctls, ioasMapMemorySync: () => 0x1000n, ioasUnmapSync: () => 4096n };
    await withBinding(fakes, async () => {
      await using device = await VfioDevice.open(fakeAddress, roots);
      const { iommufd } = device;
      using buffer = DmaBuffer.allocateSync(4096);
      const file = fileRegion(Uint8Array.of(1));
      using region = file.region.map();
      const ioas = Ioas.adopt(iommufd.parent, 7);
      const mapping = ioas.mapSync(buffer);
      const pool = new DmaPool(ioas, {});
      const vector = InterruptVector.of({ name: 'msi', index: 1 }, 0, Eventfd.open('a test'));
      for (const each of [device, iommufd, buffer, region, ioas, mapping, pool, vector]) {
        const first = each.share();
        assert.deepEqual(each.share(), first, each.constructor.name);
        // Others come and go in between.
        for (let at = 0; at < 200; at++) {
          using other = DmaBuffer.allocateSync(4096);
          other.share();
        }
        assert.deepEqual(each.share(), first, each.constructor.name);
      }
      vector.end();
      mapping.unmapSync();
      file[Symbol.dispose]();
    });
    const numbers = Array.from({ length: 300 }, () => {
      using buffer = DmaBuffer.allocateSync(4096);
      return buffer.share().memory;
    });
    assert.equal(new Set(numbers).size, 300, 'each object has a number of its own');
  });

  it('is named by a token whose numbers nobody changed', async () => {
    using buffer = DmaBuffer.allocateSync(4096);
    const token = buffer.share();
    for (const [name, values] of Object.entries({
      size: [NaN, -1, 0, 1.5, 1, 8192, 2 ** 40, 2 ** 53, Infinity],
      memory: [NaN, -1, 1.5, 2 ** 32, 2 ** 53],
    })) {
      for (const value of values) {
        const error = await failure(
          () => fromShared({ ...token, [name]: value }),
          'ERR_INVALID_ARG_VALUE',
        );
        assert.match(
          error.message,
          new RegExp(`"token" argument .* its "${name}" cannot be right`),
        );
      }
    }
    await failure(() => fromShared({ ...token, memory: 4e9 }), 'ERR_VFIO_CLOSED');
    using file = fileRegion(Uint8Array.of(1));
    using region = file.region.map();
    for (const change of [
      { size: NaN },
      { size: 0 },
      { offset: -1 },
      { fd: 0.5 },
      { high: 2 ** 32 },
    ]) {
      await failure(() => fromShared({ ...region.share(), ...change }), 'ERR_INVALID_ARG_VALUE');
    }
    const iommufd = openFake();
    await withBinding(
      { destroySync: () => 0, ioasMapMemorySync: () => 0x1000n, ioasUnmapSync: () => 4096n },
      async () => {
        const mapping = Ioas.adopt(iommufd.parent, 7).mapSync(buffer);
        const mapped = mapping.share();
        const changes = [
          { size: 8192 },
          { bufferOffset: 4096 },
          { iova: -1n },
          { buffer: { ...mapped.buffer, size: NaN } },
        ];
        for (const change of changes) {
          await failure(() => fromShared({ ...mapped, ...change }), 'ERR_INVALID_ARG_VALUE');
        }
        mapping.unmapSync();
      },
    );
    iommufd.closeSync();
  });

  it('says of a closed device that the device is closed', async () => {
    const roots = fakeVfio();
    putNode(roots, fakeNode, '/dev/null');
    putNode(roots, 'iommu', '/dev/zero');
    await withBinding(fakeIoctls, async () => {
      const device = await VfioDevice.open(fakeAddress, roots);
      const ioas = device.createIoas();
      await device.close();
      const calls = [
        () => device.share(),
        () => device.attach(ioas),
        () => {
          device.attachSync(ioas);
        },
        () => device.createIoas(),
      ];
      for (const call of calls) {
        const error = await failure(call, 'ERR_VFIO_CLOSED');
        assert.match(error.message, new RegExp(`^the cdev of ${fakeAddress} is closed`));
      }
    });
  });

  it('is named by a token of this process, and by nothing else', async () => {
    const iommufd = openFake();
    const token = iommufd.share();
    fromShared(structuredClone(token)).closeSync();
    for (const bad of [undefined, null, 3, {}, { ...token, pid: 1 }, { ...token, kind: 'x' }]) {
      await failure(() => fromShared(bad as never), 'ERR_INVALID_ARG_TYPE');
    }
    const gone = await failure(() => fromShared({ ...token, fd: 4e9 }), 'ERR_VFIO_CLOSED');
    assert.equal(gone.message, 'the iommufd that was shared is closed');
    // A copy of the package has another addon, in which nothing of this one was offered.
    const others = [
      [
        { ...token, addon: '/elsewhere/vfio.node' },
        /of one that has the addon \/elsewhere\/vfio\.node/,
      ],
      [
        { ...token, addon: undefined },
        /by this copy of the package: it is of one of another version/,
      ],
      [{ ...token, pid: 1 }, /in this process: it is of process 1/],
    ] as const;
    for (const [other, words] of others) {
      const error = await failure(() => fromShared(other as never), 'ERR_INVALID_ARG_TYPE');
      assert.match(error.message, words);
    }
    iommufd.closeSync();
    await failure(() => iommufd.share(), 'ERR_VFIO_CLOSED');
  });

  it('is refused by the addon where the arguments are no handles and no offers', () => {
    const bad = [undefined, null, 0, -1, 1.5, 'x', {}, 1n];
    const handles = ['fdOffer', 'memoryOffer', 'sharedCountOffer', 'sharedCountDrop'] as const;
    for (const name of handles) {
      for (const each of bad) assert.equal(binding()[name](each as never), undefined, name);
    }
    for (const name of ['fdTake', 'memoryTake', 'sharedCountTake'] as const) {
      assert.equal(binding()[name](undefined as never, 4096), undefined);
      assert.equal(binding()[name](4e9, 4096), -2);
    }
    const sharedCount = binding().sharedCountNew() as NativeSharedCount;
    const again = binding().sharedCountTake(
      binding().sharedCountOffer(sharedCount) ?? 0,
    ) as NativeSharedCount;
    assert.equal(binding().sharedCountDrop(sharedCount), 0);
    assert.equal(binding().sharedCountDrop(sharedCount), undefined);
    assert.equal(binding().sharedCountDrop(again), 1);
    assert.equal(binding().fdOffer(again as never as NativeFd), undefined);
  });
});
