import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { inspect } from 'node:util';
import { Worker } from 'node:worker_threads';
import { afterEach, before, it } from 'mocha';
import { DmaBuffer, VfioDevice } from 'vfio';
import { bench, benchWorkers } from '../../examples/nvme/bench.ts';
import { feature } from '../../examples/nvme/commands.ts';
import { Controller, type ControllerOptions } from '../../examples/nvme/controller.ts';
import type { NvmeEvent } from '../../examples/nvme/events.ts';
import type { DataArea } from '../../examples/nvme/io_queue.ts';
import type { Namespace } from '../../examples/nvme/namespace.ts';
import { RandomReads } from '../../examples/nvme/random_reads.ts';
import { NvmeError, type NvmeFailure } from '../../examples/nvme/status.ts';
import { Qmp } from '../../lab/guest/qmp.ts';
import { backend } from '../support/backend.ts';
import { describeLab, type TestDevice } from '../support/devices.ts';
import { hasModule, plug, unplug } from '../support/hotplug.ts';
import {
  addDisk,
  readByKernel,
  throttle,
  throttleBy,
  untilUnplugged,
} from '../support/nvme_lab.ts';
import type { NvmeWorkerTask } from '../support/nvme_worker.ts';
import { root } from '../support/root.ts';
import { skip } from '../support/skip.ts';

const blockSize = 512;
const mebibyte = 2 ** 20;
const size = 64 * mebibyte;

/** Numbers that are the same in each run. */
function randomNumbers(): (below: number) => number {
  let state = 0x1234_5678;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** An open controller of the lab, which is closed with its device. */
async function withController<T>(
  { address }: TestDevice,
  options: ControllerOptions,
  body: (controller: Controller, device: VfioDevice) => Promise<T>,
): Promise<T> {
  await using device = await VfioDevice.open(address, { backend });
  await using controller = await Controller.start(device, options);
  return await body(controller, device);
}

/** Memory of the test that runs, which goes with it. */
const memories: DmaBuffer[] = [];

async function allocateMemory(bytes: number): Promise<DmaBuffer> {
  const memory = await DmaBuffer.allocate(bytes);
  memories.push(memory);
  return memory;
}

async function allocate(controller: Controller, bytes: number): Promise<DataArea> {
  const memory = await allocateMemory(bytes);
  const { iova } = await controller.space.map(memory);
  return { bytes: new Uint8Array(memory.buffer, 0, bytes), iova };
}

/** A part of memory for a transfer. */
function part({ bytes, iova }: DataArea, from: number, length: number): DataArea {
  return { bytes: bytes.subarray(from, from + length), iova: iova + BigInt(from) };
}

/** Reads all of a namespace, to be compared with what should be there. */
async function compareAll(namespace: Namespace, area: DataArea, model: Buffer): Promise<void> {
  for (let at = 0; at < size; at += area.bytes.length) {
    await namespace.read(at / blockSize, area);
    const expected = model.subarray(at, at + area.bytes.length);
    assert.equal(Buffer.compare(area.bytes, expected), 0, `from byte ${at}`);
  }
}

/** How many of these promises came to which end. */
async function endings(promises: Promise<unknown>[]): Promise<Partial<Record<string, number>>> {
  const counts: Partial<Record<string, number>> = {};
  for (const result of await Promise.allSettled(promises)) {
    const reason: unknown = result.status === 'rejected' ? result.reason : undefined;
    if (reason !== undefined) assert.ok(reason instanceof NvmeError, inspect(reason));
    const name = reason?.code ?? 'done';
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}

const failsWith = (code: NvmeFailure, text: RegExp) => (error: unknown) =>
  error instanceof NvmeError && error.code === code && text.test(error.message);

describeLab('the NVMe driver', ['nvme0', 'nvme-port', 'edu'], (lab) => {
  const spec = lab.nvme0;
  const port = lab['nvme-port'];

  before(function () {
    if (backend === 'noiommu') skip(this, 'address spaces need an IOMMU');
  });

  afterEach(async () => {
    for (const memory of memories.splice(0)) await memory.dispose();
    if (backend !== 'noiommu') await throttle(spec, 0);
  });

  for (const vectors of [0, 3]) {
    const how = vectors > 0 ? 'by MSI-X' : 'polled';
    it(`keeps what is written, ${how}: the whole namespace, also as the kernel reads it`, async function () {
      const random = randomNumbers();
      const model = Buffer.alloc(size);
      await withController(spec, { vectors }, async (controller) => {
        assert.equal(controller.info.serial, 'nvme0');
        const [first, second] = [
          await controller.openNamespace(),
          await controller.openNamespace(),
        ];
        assert.deepEqual(first.info, { id: 1, blocks: size / blockSize, blockSize });
        const area = await allocate(controller, 4 * mebibyte);
        // Everything is known to begin with; then pieces of any length, at any place of memory.
        area.bytes.forEach((_, at) => (area.bytes[at] = random(256)));
        for (let at = 0; at < size; at += area.bytes.length) {
          await first.write(at / blockSize, area);
          model.set(area.bytes, at);
        }
        for (let round = 0; round < 40; round++) {
          const writes = [first, second].map(async (namespace, half) => {
            const length = (1 + random(1200)) * blockSize;
            const from = half * 2 * mebibyte + random(1000) * 4;
            const data = part(area, from, length);
            // Halves of the disk, so that the order of the two does not matter.
            const block = half * 65_536 + random(65_536 - length / blockSize);
            model.set(data.bytes, block * blockSize);
            await namespace.write(block, data);
          });
          await Promise.all(writes);
          area.bytes[random(area.bytes.length)] = round;
        }
        await first.flush();
        await compareAll(second, area, model);
      });
      if (!hasModule('nvme') && !existsSync('/sys/bus/pci/drivers/nvme')) return;
      assert.equal(Buffer.compare(await readByKernel(spec), model), 0);
    });
  }

  it('tells what a command failed of', async () => {
    await withController(spec, {}, async (controller) => {
      const namespace = await controller.openNamespace();
      const area = await allocate(controller, 4096);
      await assert.rejects(
        namespace.read(size / blockSize, area),
        failsWith('status', /^read of 8 blocks at 131072: the blocks are outside the namespace$/),
      );
      await assert.rejects(
        controller.admin.run('nonsense', { opcode: 0x7f }),
        failsWith('status', /^nonsense: the opcode is not known$/),
      );
      await assert.rejects(controller.identifyNamespace(7), failsWith('status', /no namespace 7/));
      await assert.rejects(controller.createQueue(1), RangeError);
      await namespace.read(0, area);
    });
  });

  it('does more commands at once than its queue has room for', async () => {
    await withController(spec, { vectors: 2 }, async (controller) => {
      const namespace = await controller.openNamespace(1, 8);
      const area = await allocate(controller, 4096);
      const reads = Array.from({ length: 500 }, (_, at) => {
        return namespace.read(at, part(area, (at % 8) * blockSize, blockSize));
      });
      assert.deepEqual(await endings(reads), { done: 500 });
    });
  });

  it('resets a controller whose commands take too long, and goes on', async () => {
    await withController(spec, { timeout: 1000 }, async (controller) => {
      const namespace = await controller.openNamespace();
      const area = await allocate(controller, 16 * 4096);
      await namespace.write(0, area);
      const resets: unknown[] = [];
      controller.on('reset', () => resets.push(true));
      await throttle(spec, 1);
      const reads = Array.from({ length: 16 }, (_, at) => {
        return namespace.read(at * 8, part(area, at * 4096, 4096));
      });
      // Those that began a moment later were not late yet when the first were.
      const { done = 0, timeout = 0, reset = 0, ...others } = await endings(reads);
      await throttle(spec, 0);
      assert.deepEqual(others, {});
      assert.equal(done + timeout + reset, 16);
      assert.ok(timeout > 0);
      await namespace.read(0, area);
      assert.equal(resets.length, 1);
    });
  });

  it('is reset in mid-work: what was under way says so, the queues are there again', async () => {
    await withController(spec, { vectors: 2 }, async (controller) => {
      const namespaces = [await controller.openNamespace(), await controller.openNamespace()];
      const area = await allocate(controller, 32 * 4096);
      area.bytes.fill(0x5a);
      await namespaces[0]?.write(0, area);
      area.bytes.fill(0);
      await throttle(spec, 2);
      const reads = namespaces.flatMap((namespace, half) =>
        Array.from({ length: 16 }, (_, at) => {
          const place = half * 16 + at;
          return namespace.read(place * 8, part(area, place * 4096, 4096));
        }),
      );
      const ends = endings(reads);
      await new Promise(setImmediate);
      await controller.reset();
      const { done = 0, reset = 0, ...others } = await ends;
      assert.deepEqual(others, {});
      assert.equal(done + reset, 32);
      assert.ok(reset > 0);
      await throttle(spec, 0);
      for (const namespace of namespaces) {
        area.bytes.fill(0);
        await namespace.read(0, area);
        assert.ok(area.bytes.every((byte) => byte === 0x5a));
      }
    });
  });

  it('tells of an event, and of the next', async () => {
    await withController(spec, { vectors: 1 }, async (controller) => {
      for (let round = 0; round < 2; round++) {
        const told = once(controller, 'event') as Promise<[NvmeEvent]>;
        // Kelvin: QEMU's controller is at 323, which the log has from its second byte on.
        await controller.admin.setFeature(feature.temperatureThreshold, 300);
        const [{ log, ...event }] = await told;
        assert.deepEqual(event, { type: 'health', info: 1, logPage: 2 });
        assert.equal(Buffer.from(log).readUInt16LE(1), 323);
      }
    });
  });

  it('reads by a loop of its own, and by workers', async () => {
    await withController(spec, {}, async (controller) => {
      const namespace = await controller.identifyNamespace(1);
      const options = { namespace, bytes: 4096, depth: 16, milliseconds: 300 };
      for (const result of [
        await bench(controller, options),
        await benchWorkers(controller, 2, options),
      ]) {
        assert.equal(result.errors, 0);
        assert.ok(result.done > 32);
      }
    });
  });

  it('lends queues to workers, whose data is where it belongs', async () => {
    await withController(spec, {}, async (controller) => {
      const namespace = await controller.identifyNamespace(1);
      const bytes = 64 * 1024;
      const work = [3, 7].map(async (seed, at) => {
        const lent = await controller.lendQueue(16);
        const memory = await allocateMemory(bytes);
        const { iova } = await controller.space.map(memory);
        const block = 1000 + (at * bytes) / blockSize;
        const task: NvmeWorkerTask = { lent, namespace, memory: memory.share(), iova, block, seed };
        const file = new URL('build-test/programs/nvme_worker.js', root);
        const worker = new Worker(file, { workerData: task });
        assert.deepEqual(await once(worker, 'message'), [true]);
        await once(worker, 'exit');
        await controller.takeBack(lent.id);
        return { block, seed };
      });
      const done = await Promise.all(work);
      const area = await allocate(controller, bytes);
      const own = await controller.openNamespace();
      for (const { block, seed } of done) {
        await own.read(block, area);
        assert.ok(area.bytes.every((byte, at) => byte === (at * seed) % 251));
      }
    });
  });

  it('ends what is under way when its device is unplugged', async () => {
    const node = {
      driver: 'null-co',
      'node-name': `unplugged${process.pid}`,
      size,
      'read-zeroes': true,
    };
    await unplug(port);
    await addDisk(node);
    await plug(port, { serial: 'unplugged', drive: node['node-name'] });
    try {
      await withController(port, { vectors: 2 }, async (controller, device) => {
        const namespace = await controller.openNamespace();
        const area = await allocate(controller, 16 * 4096);
        await throttle(port, 1);
        const ends = endings(
          Array.from({ length: 16 }, (_, at) =>
            namespace.read(at * 8, part(area, at * 4096, 4096)),
          ),
        );
        await using qmp = await Qmp.connect();
        await qmp.execute('device_del', { id: port.name });
        const { done = 0, removed = 0, ...others } = await ends;
        assert.deepEqual(others, {});
        assert.equal(done + removed, 16);
        assert.ok(removed > 0);
        assert.equal(controller.failure?.code, 'removed');
        await assert.rejects(
          namespace.read(0, area),
          failsWith('removed', /wants the device back/),
        );
        // QEMU would wait for its disk, and the whole VM for it.
        await throttleBy(qmp, port, 0);
        await controller.close();
        await device.close();
        await untilUnplugged(qmp, port);
      });
    } catch (error) {
      // Whether its slot is free again says nothing of what went wrong.
      await plug(port, { serial: 'nvme-port' }).catch((also: unknown) => {
        throw new AggregateError([error, also], String(error));
      });
      throw error;
    }
    await plug(port, { serial: 'nvme-port' });
  });

  it('is lean where nothing happens, and still tells of an event: without vectors', async () => {
    await withController(spec, {}, async (controller) => {
      const [start, before] = [performance.now(), process.cpuUsage()];
      await delay(1000);
      const { user, system } = process.cpuUsage(before);
      const share = (user + system) / 1000 / (performance.now() - start);
      assert.ok(share < 0.3, `${share.toFixed(2)} of a processor`);
      const told = once(controller, 'event') as Promise<[NvmeEvent]>;
      await controller.admin.setFeature(feature.temperatureThreshold, 300);
      const [{ type }] = await told;
      assert.equal(type, 'health');
    });
  });

  it('reads by a loop that waits for interrupts', async () => {
    await withController(spec, { vectors: 2 }, async (controller) => {
      const namespace = await controller.identifyNamespace(1);
      const options = { namespace, bytes: 512, depth: 32 };
      // Reads that another took, of a queue of 33, would be the last after some 700 in any time.
      for (let milliseconds = 500, most = 0; most <= 1000; milliseconds *= 2) {
        const { done, errors } = await bench(controller, { ...options, milliseconds });
        assert.equal(errors, 0);
        most = done;
      }
      // The queue, with its vector, is there for the next.
      assert.equal((await bench(controller, { ...options, milliseconds: 10 })).errors, 0);
    });
  });

  it('does not wait for reads of a device that was reset', async () => {
    await withController(spec, {}, async (controller, device) => {
      const namespace = await controller.identifyNamespace(1);
      const { pair, prps } = await controller.driveQueue(33);
      const data = await allocate(controller, 32 * 512);
      const { registers } = controller;
      const options = { pair, registers, prps, namespace, bytes: 512, depth: 32, data };
      const reads = new RandomReads(options);
      // So that they are under way when it is reset.
      await throttle(spec, 1);
      reads.begin();
      reads.look();
      await device.reset();
      assert.throws(
        () => {
          reads.finish(60_000);
        },
        failsWith('reset', /^\d+ reads did not end: the controller is off/),
      );
      await throttle(spec, 0);
      await controller.fail(new NvmeError('reset', 'the device was reset'));
    });
  });
});
