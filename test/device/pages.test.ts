import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, it } from 'mocha';
import {
  Container,
  DmaBuffer,
  FdChannel,
  fromShared,
  Iommufd,
  packDevice,
  unpackDevice,
  VfioDevice,
  type AddressSpace,
  type FileDescriptor,
  type Ioas,
  type SharedToken,
} from '../../lib/index.ts';
import { describeLab } from '../support/devices.ts';
import { failure } from '../support/errors.ts';
import { dmaMemories, vfioFds } from '../support/proc.ts';
import { reach, reached } from '../support/reach.ts';
import { root } from '../support/root.ts';
import { memoryToGo, Strangers } from '../support/strangers.ts';

// Kernels before 6.13, and containers, map by address, and pin when a device comes: whoever made
// the map has ended, others have memory where theirs was, and only then is a device attached.

const { iova, size } = reached;
const elsewhere = 0x60_0000n;
const mine = 0x3c;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** What the device finds: the pages that were mapped, or no map any more. */
type Found = 'the pages' | 'nothing';

function bytesOf(found: Found): number[] {
  return Array<number>(reached.bytes).fill(found === 'the pages' ? mine : 0);
}

/** What is left when all that a test ends has ended. */
interface Left {
  device: VfioDevice;
  ioas: AddressSpace;
  close: () => Promise<void>;
}

async function ownBuffer(): Promise<DmaBuffer> {
  const buffer = await DmaBuffer.allocate(size);
  new Uint8Array(buffer.buffer).fill(mine);
  return buffer;
}

/** Attaches at last, and proves what the device reaches; then closes all. */
async function prove({ device, ioas, close }: Left, found: Found): Promise<void> {
  await using strangers = await Strangers.settle();
  const seen = await reach(device, ioas);
  strangers.check();
  assert.deepEqual(seen, bytesOf(found));
  if (found === 'the pages') assert.equal(await ioas.unmap(iova, BigInt(size)), BigInt(size));
  else await failure(() => ioas.unmap(iova, BigInt(size)), 'ENOENT');
  await close();
}

const library = JSON.stringify(new URL('build-test/programs/vfio.js', root).href);
// The library of which the binding can be had: one thread has it once.
const libraryInParts = JSON.stringify(new URL('build-test/lib/index.js', root).href);
const bindingModule = JSON.stringify(new URL('build-test/lib/core/binding.js', root).href);

/** A worker that takes what was shared, maps in it, and goes on until it is told to end. */
async function mapper(token: unknown, map: string): Promise<Worker> {
  const program = `
    const { parentPort, workerData } = require('node:worker_threads');
    (async () => {
      const { DmaBuffer, fromShared } = await import(${libraryInParts});
      const { binding } = await import(${bindingModule});
      const shared = fromShared(workerData);
      ${map}
      parentPort.once('message', () => parentPort.close());
      parentPort.postMessage('mapped');
    })().catch((error) => setImmediate(() => { throw error; }));`;
  const worker = new Worker(program, { eval: true, workerData: token });
  assert.deepEqual(await once(worker, 'message'), ['mapped']);
  return worker;
}

const mapOwn = (ioas: string): string => `
  const buffer = DmaBuffer.allocateSync(${size});
  new Uint8Array(buffer.buffer).fill(${mine});
  ${ioas}.mapSync(buffer, { iova: ${iova}n });`;

const sources = {
  'a DmaBuffer': mapOwn('shared'),
  'a file': `
    const file = binding().memoryAllocateSync(${size}n, 0, 0);
    new Uint8Array(binding().memoryBuffer(file, 0n, ${size}n)).fill(${mine});
    const fd = binding().memoryFile(file);
    shared.mapSync({ fd, offset: 0, length: ${size} }, { iova: ${iova}n });
    binding().memoryRelease(file);`,
};

const ends: Record<string, (worker: Worker) => unknown> = {
  'ends by itself': (worker) => {
    worker.postMessage('end');
  },
  'is terminated': (worker) => worker.terminate(),
};

async function end(worker: Worker, how = 'is terminated'): Promise<void> {
  const exited = once(worker, 'exit');
  await ends[how]?.(worker);
  await exited;
}

/** Has descriptors nowhere but in the kernel, in a message to ourselves, until they are taken. */
async function sent(numbers: readonly number[]): Promise<() => Promise<FileDescriptor[]>> {
  const [from, to] = FdChannel.pair();
  await from.send(Buffer.from('x'), numbers);
  await from.close();
  return async () => {
    const message = await to.receive();
    await to.close();
    return [...(message?.fds ?? [])];
  };
}

async function takeOne(take: () => Promise<FileDescriptor[]>): Promise<Iommufd> {
  const [fd] = await take();
  assert.ok(fd);
  return Iommufd.fromFd(fd);
}

const ways: Record<string, (iommufd: Iommufd) => Promise<Iommufd>> = {
  'a duplicate': (iommufd) => Promise.resolve(Iommufd.fromFd(iommufd.dup())),
  'its number': (iommufd) => Promise.resolve(Iommufd.fromFd(iommufd.fd)),
  'a message': async (iommufd) => takeOne(await sent([iommufd.fd])),
};

describeLab('pages that a device may reach later', ['edu', 'mtty'], (lab) => {
  let before: { fds: string[]; memories: number };

  beforeEach(async () => {
    await memoryToGo();
    before = { fds: vfioFds(), memories: dmaMemories() };
  });

  afterEach(async () => {
    await memoryToGo();
    assert.deepEqual({ fds: vfioFds(), memories: dmaMemories() }, before);
    await (await VfioDevice.open(lab.edu, { timeout: 0 })).close();
  });

  async function open(): Promise<{ iommufd: Iommufd; ioas: Ioas } & Left> {
    const iommufd = Iommufd.open();
    const device = await VfioDevice.open(lab.edu, { iommufd });
    const close = async (): Promise<void> => {
      await device.close();
      await iommufd.close();
    };
    return { iommufd, device, ioas: iommufd.createIoas(), close };
  }

  /** The same device, of an iommufd that comes back in a message. */
  async function again(
    take: () => Promise<FileDescriptor[]>,
    { device, id }: { device: VfioDevice; id: number },
  ): Promise<Left> {
    const iommufd = await takeOne(take);
    const same = VfioDevice.fromFd(device.fd, { iommufd, devId: device.devId });
    const close = async (): Promise<void> => {
      await device.close();
      await iommufd.close();
      await same.close();
    };
    return { device: same, ioas: iommufd.openIoas(id), close };
  }

  for (const [what, source] of Object.entries(sources)) {
    for (const how of Object.keys(ends)) {
      it(`stay when the worker that mapped ${what} ${how}`, async () => {
        const left = await open();
        await end(await mapper(left.ioas.share(), source), how);
        await prove(left, 'the pages');
      });
    }
  }

  for (const how of Object.keys(ends)) {
    it(`stay when the worker ${how} that alone had the iommufd, and the device is left`, async () => {
      const { iommufd, device, ioas } = await open();
      const { id } = ioas;
      const take = await sent([iommufd.fd]);
      const worker = await mapper(ioas.share(), sources['a DmaBuffer']);
      await iommufd.close();
      await end(worker, how);
      await prove(await again(take, { device, id }), 'the pages');
    });
  }

  for (const [way, another] of Object.entries(ways)) {
    it(`stay when the first descriptor is closed, and one by ${way} is left`, async () => {
      const first = Iommufd.open();
      const second = await another(first);
      const device = await VfioDevice.open(lab.edu, { iommufd: second });
      const ioas = first.createIoas();
      const { id } = ioas;
      const buffer = await ownBuffer();
      await ioas.map(buffer, { iova });
      await first.close();
      await buffer.dispose();
      const close = async (): Promise<void> => {
        await second.close();
        await device.close();
      };
      await prove({ device, ioas: second.openIoas(id), close }, 'the pages');
    });

    it(`stay when one by ${way} is closed, and the first is left`, async () => {
      const left = await open();
      const second = await another(left.iommufd);
      const buffer = await ownBuffer();
      second.openIoas(left.ioas.id).mapSync(buffer, { iova });
      second.closeSync();
      buffer.disposeSync();
      await prove(left, 'the pages');
    });
  }

  it('stay while only the bound device is left', async () => {
    const { iommufd, device, ioas } = await open();
    const { id } = ioas;
    const buffer = await ownBuffer();
    await ioas.map(buffer, { iova });
    const take = await sent([iommufd.fd]);
    await iommufd.close();
    await buffer.dispose();
    await prove(await again(take, { device, id }), 'the pages');
  });

  it('stay while only a device is left that another program bound', async () => {
    const { iommufd, device, ioas } = await open();
    const { description, fds } = packDevice(device, [ioas]);
    const taken = await sent(fds);
    await device.close();
    await iommufd.close();
    const { device: same, ioases } = unpackDevice(description, await taken());
    const [space] = ioases;
    assert.ok(space);
    const { id } = space;
    const buffer = await ownBuffer();
    await space.map(buffer, { iova });
    const take = await sent([same.iommufd.fd]);
    await same.iommufd.close();
    await buffer.dispose();
    await prove(await again(take, { device: same, id }), 'the pages');
  });

  it('stay while a copy of their map is there, which another thread made', async () => {
    const left = await open();
    const buffer = await ownBuffer();
    const mapping = await left.ioas.map(buffer, { iova: elsewhere });
    const copy = `shared.copySync(${elsewhere}n, ${size}, { iova: ${iova}n });`;
    await end(await mapper(left.ioas.share(), copy));
    await buffer.dispose();
    assert.equal(mapping.mapped, false);
    await prove(left, 'the pages');
  });

  it('stay when their buffer and its map are dropped and collected', async () => {
    const left = await open();
    const mapDropped = async (): Promise<WeakRef<object>> => {
      const space = left.iommufd.openIoas(left.ioas.id);
      return new WeakRef(await space.map(await ownBuffer(), { iova }));
    };
    const dropped = await mapDropped();
    while (dropped.deref() !== undefined) {
      await memoryToGo();
      collect();
    }
    await prove(left, 'the pages');
  });

  it('are unmapped when their buffer is disposed of', async () => {
    const left = await open();
    const buffer = await ownBuffer();
    await left.ioas.map(buffer, { iova });
    await buffer.dispose();
    await prove(left, 'nothing');
  });

  it('go with their map, and with their address space', async () => {
    const { ioas, close } = await open();
    const [first, second, third] = [await ownBuffer(), await ownBuffer(), await ownBuffer()];
    const left = (): number => dmaMemories() - before.memories;
    await ioas.map(first, { iova });
    await ioas.copy(iova, size, { iova: elsewhere });
    await first.dispose();
    await memoryToGo();
    assert.equal(left(), 2);
    await ioas.map(second, { iova });
    assert.equal(await ioas.unmapAll(), BigInt(size));
    await second.dispose();
    await memoryToGo();
    assert.equal(left(), 1);
    await ioas.map(third, { iova });
    await ioas.close();
    await third.dispose();
    await memoryToGo();
    assert.equal(left(), 0);
    await close();
  });

  it('are nobody else’s when all is closed here, though a message still has the iommufd', async () => {
    const { iommufd, device, ioas } = await open();
    // A map by file has the file, whose pages nobody else gets, and stays.
    const found = iommufd.mapsFiles ? 'the pages' : 'nothing';
    const buffer = await ownBuffer();
    await ioas.map(buffer, { iova });
    const { description, fds } = packDevice(device, [ioas]);
    const take = await sent(fds);
    await iommufd.close();
    await device.close();
    await buffer.dispose();
    const { device: same, ioases } = unpackDevice(description, await take());
    const [space] = ioases;
    assert.ok(space);
    await prove({ device: same, ioas: space, close: () => same.close() }, found);
  });

  for (const [title, words, closes, found] of [
    ['stay while this process has the iommufd that a child got', [], false, bytesOf('the pages')],
    ['are nobody else’s when this process closes what a child got', [], true, bytesOf('nothing')],
    ['stay while this process has what a child copied', ['copy'], false, bytesOf('the pages')],
    ['are nobody else’s when this process closes what a child copied', ['copy'], true, 'EFAULT'],
  ] as const) {
    it(title, async () => {
      const { iommufd, device, ioas, close } = await open();
      const isKept = closes && iommufd.mapsFiles;
      const copy = await ways['a duplicate']?.(iommufd);
      assert.ok(copy);
      const buffer = await ownBuffer();
      await ioas.map(buffer, { iova });
      const [ours, theirs] = FdChannel.pair();
      const program = new URL('build-test/test/support/reaching_child.js', root).pathname;
      const stdio = ['ignore', 'inherit', 'inherit', theirs.fd] as const;
      const child = spawn(process.execPath, [program, ...words], { stdio: [...stdio] });
      const exited = once(child, 'exit');
      theirs.closeSync();
      const { description, fds } = packDevice(device, [ioas]);
      await ours.send(Buffer.from(JSON.stringify(description)), fds);
      assert.ok(await ours.receive(), 'the child took it');
      await close();
      if (closes) await copy.close();
      await buffer.dispose();
      await using strangers = await Strangers.settle();
      await ours.send(Buffer.from('attach'));
      const answer = await ours.receive();
      strangers.check();
      assert.ok(answer, 'the child ended');
      const seen: unknown = JSON.parse(Buffer.from(answer.data).toString());
      assert.deepEqual(seen, isKept ? bytesOf('the pages') : found);
      assert.deepEqual(await exited, [0, null]);
      await ours.close();
      await copy.close();
    });
  }

  for (const how of Object.keys(ends)) {
    it(`stay in a container when the worker that mapped them ${how}`, async () => {
      const container = Container.open();
      // An mdev has nothing pinned; the device that joins it later has all.
      const mtty = await VfioDevice.open(lab.mtty, { backend: 'group', container });
      const map = `const ioas = shared.createIoas(); ${mapOwn('ioas')}`;
      await end(await mapper(mtty.share(), map), how);
      await using strangers = await Strangers.settle();
      const device = await VfioDevice.open(lab.edu, { backend: 'group', container });
      const ioas = container.createIoas();
      assert.deepEqual(await reach(device, ioas), bytesOf('the pages'));
      strangers.check();
      assert.equal(await ioas.unmap(iova, BigInt(size)), BigInt(size));
      await device.close();
      await mtty.close();
      await container.close();
    });
  }

  // The worker had the device first, and mapped; this thread has it, too, and drives it afterwards.
  for (const [title, closing, found] of [
    ['are unmapped when the thread that mapped them disposes of them', 'dispose', 'nothing'],
    ['stay when the thread that mapped them ends', 'end', 'the pages'],
  ] as const) {
    it(`of a container whose last device of that thread is closed ${title}`, async () => {
      const { bus, address } = lab.edu;
      const program = `
        const { parentPort, workerData } = require('node:worker_threads');
        const told = () => new Promise((done) => parentPort.once('message', done));
        (async () => {
          const { Container, DmaBuffer, VfioDevice } = await import(${library});
          const container = Container.open();
          const device = await VfioDevice.open(workerData, { backend: 'group', container });
          const shared = container.createIoas();
          ${mapOwn('shared')}
          parentPort.postMessage(device.share());
          await told();
          await device.close();
          if (${closing === 'dispose'}) await buffer.dispose();
          parentPort.postMessage('closed');
          await told();
        })().catch((error) => setImmediate(() => { throw error; }));`;
      const worker = new Worker(program, { eval: true, workerData: { bus, address } });
      try {
        const [token] = (await once(worker, 'message')) as [SharedToken<'group-device'>];
        await using device = fromShared(token);
        const closed = once(worker, 'message');
        worker.postMessage('close');
        await closed;
        if (closing === 'end') await end(worker);
        await using strangers = await Strangers.settle();
        assert.deepEqual(await reach(device, device.createIoas()), bytesOf(found));
        strangers.check();
      } finally {
        await worker.terminate();
      }
    });
  }

  it('go with the last group of a container, which stays open', async () => {
    const container = Container.open();
    const device = await VfioDevice.open(lab.edu, { backend: 'group', container });
    const buffer = await ownBuffer();
    await container.createIoas().map(buffer, { iova });
    await device.close();
    await buffer.dispose();
    await memoryToGo();
    assert.equal(dmaMemories(), before.memories);
    await container.close();
  });
});
