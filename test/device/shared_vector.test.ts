import assert from 'node:assert/strict';
import { once } from 'node:events';
import { setImmediate } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { afterEach, it } from 'mocha';
import { fromShared, type InterruptVector, type SharedToken, VfioDevice } from '../../lib/index.ts';
import { describeLab } from '../support/devices.ts';
import { failure } from '../support/errors.ts';
import { plug, unplug } from '../support/hotplug.ts';
import { eventfdId, eventfdsOf, packetSockets } from '../support/proc.ts';
import { VectorThread } from '../support/vector_thread.ts';
import { root } from '../support/root.ts';

const program = (name: string): URL => new URL(`build-test/programs/${name}.js`, root);

describeLab('vectors that threads share', ['edu', 'edu-port', 'nvme0'], (lab) => {
  const threads: VectorThread[] = [];

  async function another(
    token: SharedToken,
    name: 'vector_worker' | 'interrupt_worker' = 'vector_worker',
  ): Promise<VectorThread> {
    const thread = await VectorThread.of(
      token,
      (workerData) => new Worker(program(name), { workerData }),
    );
    threads.push(thread);
    return thread;
  }

  afterEach(async () => {
    await Promise.all(threads.splice(0).map(({ worker }) => worker.terminate()));
  });

  async function enable(
    device: VfioDevice,
    name: string,
    count = 1,
  ): Promise<{ vectors: readonly InterruptVector[]; first: InterruptVector; id: string }> {
    const vectors = await device.interrupt(name).enable(count);
    const [first] = vectors;
    assert.ok(first);
    return { vectors, first, id: eventfdId(first.fd) ?? '' };
  }

  it('tell each its own, every interrupt once (MSI-X)', async () => {
    await using device = await VfioDevice.open(lab.nvme0);
    const msix = device.interrupt('msix');
    const { vectors } = await enable(device, 'msix', 3);
    const [first, second, third] = vectors;
    assert.ok(first && second && third);
    const [one, two] = [await another(second.share()), await another(third.share())];
    let here = 0;
    first.on('interrupt', (count) => (here += count));
    await one.does('listen');
    await two.does('listen');
    for (let at = 0; at < 3000; at++) msix.trigger(at % 3);
    await Promise.all([one.hears(1000), two.hears(1000)]);
    while (here < 1000) await setImmediate();
    assert.equal(here, 1000);
    await failure(() => second.wait(), 'ERR_VFIO_VECTOR_BUSY');
    await device.reset();
    msix.trigger(1);
    await one.hears(1001);
    await two.does('unlisten');
    msix.trigger(2);
    assert.equal(await third.wait(), 1);
    // Dropping a vector ends it in its thread, and no other.
    await msix.resize(2);
    await two.until('number', 'ERR_VFIO_CLOSED');
    msix.trigger(1);
    await one.hears(1002);
  });

  it('are the device’s own interrupts', async () => {
    await using device = await VfioDevice.open(lab.edu, { busMaster: true });
    const bar = device.region('bar0').map();
    const { first } = await enable(device, 'msi');
    const thread = await another(first.share());
    for (let round = 0; round < 10; round++) {
      const wait = thread.does('wait', 60_000);
      bar.write32(0x60, 1);
      assert.equal(await wait, 1);
      bar.write32(0x64, 1);
    }
  });

  const ends = {
    disable: (device: VfioDevice) => device.interrupt('msix').disable(),
    disableSync: (device: VfioDevice) => {
      device.interrupt('msix').disableSync();
    },
    close: (device: VfioDevice) => device.close(),
    closeSync: (device: VfioDevice) => {
      device.closeSync();
    },
  };

  for (const [name, end] of Object.entries(ends)) {
    it(`are over when the owner ends them, and leave nothing open: ${name}`, async () => {
      const sockets = packetSockets();
      await using device = await VfioDevice.open(lab.nvme0);
      const { first, id } = await enable(device, 'msix');
      const [iterating, waiting] = [await another(first.share()), await another(first.share())];
      await iterating.does('iterate');
      device.interrupt('msix').trigger();
      await iterating.hears(1);
      device.interrupt('msix').trigger();
      await end(device);
      assert.equal(await iterating.next('over'), true);
      assert.equal(await iterating.does('total'), 2, 'what was counted before is told');
      await waiting.until('wait', 'ERR_VFIO_CLOSED');
      assert.deepEqual([eventfdsOf(id), packetSockets()], [0, sockets]);
    });
  }

  it('are over when a thread that has the device too disables the interrupt', async () => {
    await using device = await VfioDevice.open(lab.nvme0);
    const { first } = await enable(device, 'msix');
    const rival = await another(device.share(), 'interrupt_worker');
    const thread = await another(first.share());
    await thread.does('begin');
    await rival.does('disable', 'msix');
    assert.equal(await thread.next('code'), 'ERR_VFIO_CLOSED');
    await failure(() => first.share(), 'ERR_VFIO_CLOSED');
  });

  for (const end of ['terminate', 'disable', 'close'] as const) {
    it(`are over when the thread that enabled them is: ${end}`, async () => {
      const sockets = packetSockets();
      await using device = await VfioDevice.open(lab.nvme0);
      const msix = device.interrupt('msix');
      for (let round = 0; round < 3; round++) {
        const owner = await another(device.share(), 'interrupt_worker');
        const token = (await owner.does('share', 'msix')) as SharedToken<'vector'>;
        using shared = fromShared(token);
        const id = eventfdId(shared.fd);
        msix.trigger();
        assert.equal(await shared.wait(), 1);
        const over = failure(() => shared.wait(), 'ERR_VFIO_CLOSED');
        if (end === 'terminate') await owner.worker.terminate();
        else await owner.does(end, 'msix');
        await over;
        await failure(() => fromShared(token), 'ERR_VFIO_CLOSED');
        assert.deepEqual([eventfdsOf(id), packetSockets()], [0, sockets]);
        assert.equal(msix.enabled, false);
      }
      assert.equal((await msix.enable()).length, 1);
    }).timeout(120_000);
  }

  for (const first of ['the worker', 'the owner'] as const) {
    it(`are left by a worker that is terminated, at the same time as disabled: ${first} first`, async () => {
      await using device = await VfioDevice.open(lab.edu);
      const msi = device.interrupt('msi');
      const sockets = packetSockets();
      for (let round = 0; round < 3; round++) {
        const { first: vector, id } = await enable(device, 'msi');
        const thread = await another(vector.share());
        await thread.does('listen');
        msi.trigger();
        await thread.hears(1);
        const ending = first === 'the worker' ? thread.worker.terminate() : undefined;
        await Promise.all([msi.disable(), ending ?? thread.worker.terminate()]);
        assert.deepEqual([eventfdsOf(id), packetSockets()], [0, sockets]);
      }
    }).timeout(120_000);
  }

  it('are over when the device is unplugged', async () => {
    const spec = lab['edu-port'];
    const sockets = packetSockets();
    const device = await VfioDevice.open(spec);
    const { first, id } = await enable(device, 'msi');
    const thread = await another(first.share());
    await thread.does('begin');
    try {
      await Promise.all([unplug(spec), once(device, 'close')]);
      assert.equal(await thread.next('code'), 'ERR_VFIO_CLOSED');
      assert.deepEqual([eventfdsOf(id), packetSockets()], [0, sockets]);
    } finally {
      await plug(spec);
    }
  });
});
