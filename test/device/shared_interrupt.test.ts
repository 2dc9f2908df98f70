import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { afterEach, it } from 'mocha';
import { VfioDevice, type SharedToken } from '../../lib/index.ts';
import { backend } from '../support/backend.ts';
import { describeLab } from '../support/devices.ts';
import { failure } from '../support/errors.ts';
import { root } from '../support/root.ts';

interface Message {
  value?: unknown;
  code?: string;
  told?: number;
  over?: boolean;
}

/** Another thread that has the device. */
class Thread {
  readonly worker: Worker;
  readonly #messages: Message[] = [];
  #wake: (() => void) | undefined;

  constructor(token: SharedToken) {
    const file = new URL('build-test/programs/interrupt_worker.js', root);
    this.worker = new Worker(file, { workerData: token });
    this.worker.on('message', (message: Message) => {
      this.#messages.push(message);
      this.#wake?.();
    });
  }

  /** The next message that is of the kind. */
  async next(name: keyof Message): Promise<unknown> {
    for (;;) {
      const at = this.#messages.findIndex((message) => name in message);
      if (at >= 0) return this.#messages.splice(at, 1)[0]?.[name];
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  /** What came of an order, which is expected to fail where that is of a code. */
  async does(order: string, interrupt?: string, of: 'value' | 'code' = 'value'): Promise<unknown> {
    this.worker.postMessage([order, interrupt]);
    return this.next(of);
  }
}

async function threadOf(device: VfioDevice): Promise<Thread> {
  const thread = new Thread(device.share());
  assert.equal(await thread.next('value'), 'ready');
  return thread;
}

const off = { enabled: false, vectors: 0, told: 0, isOver: false };

describeLab('interrupts of a device that threads share', ['edu', 'nvme0'], (lab) => {
  const threads: Thread[] = [];

  async function another(device: VfioDevice): Promise<Thread> {
    const thread = await threadOf(device);
    threads.push(thread);
    return thread;
  }

  afterEach(async () => {
    await Promise.all(threads.splice(0).map(({ worker }) => worker.terminate()));
  });

  it('are enabled by one of them at a time', async () => {
    await using device = await VfioDevice.open(lab.edu);
    const msi = device.interrupt('msi');
    const thread = await another(device);
    await msi.enable();
    assert.equal(await thread.does('enable', 'msi', 'code'), 'ERR_VFIO_IRQ_ENABLED');
    assert.deepEqual(await thread.does('state', 'msi'), { ...off, enabled: true });
    const [vector] = msi.vectors;
    assert.ok(vector);
    const told = once(vector, 'interrupt');
    msi.trigger();
    assert.deepEqual(await told, [1], 'nothing was stolen');
    await msi.disable();
    assert.equal(await thread.does('enable', 'msi'), 1);
    for (const enable of [() => msi.enable(), () => msi.enableSync()]) {
      const error = await failure(enable, 'ERR_VFIO_IRQ_ENABLED');
      assert.match(error.message, /another thread/);
    }
    const rival = await failure(() => device.interrupt('intx').enable(), 'EINVAL');
    assert.match(rival.message, /while msi is/);
    assert.deepEqual([msi.enabled, msi.vectors.length], [true, 0]);
    await failure(() => msi.resize(1), 'ERR_VFIO_IRQ_DISABLED');
  });

  for (const way of ['disable', 'disableSync'] as const) {
    it(`are disabled by whichever thread, and the one that had them hears of it (${way})`, async () => {
      await using device = await VfioDevice.open(lab.edu);
      const msi = device.interrupt('msi');
      const thread = await another(device);
      await thread.does('count', 'msi');
      msi.trigger();
      assert.equal(await thread.next('told'), 1);
      await msi[way]();
      assert.equal(await thread.next('over'), true);
      assert.deepEqual(await thread.does('state', 'msi'), { ...off, told: 1, isOver: true });
      await thread.does('disable', 'msi');
      assert.equal((await msi.enable()).length, 1);
      await thread.does('disable', 'msi');
      assert.equal(msi.enabled, false);
      assert.equal(await thread.does('enable', 'msi'), 1);
    });
  }

  it('live through a reset by another', async () => {
    await using device = await VfioDevice.open(lab.nvme0);
    const msix = device.interrupt('msix');
    const thread = await another(device);
    const [, second] = await msix.enable(2);
    assert.ok(second);
    await thread.does('reset');
    const told = once(second, 'interrupt');
    msix.trigger(1);
    assert.deepEqual(await told, [1]);
    await device.reset();
    await msix.disable();
    await thread.does('count', 'msix');
    await device.reset();
    msix.trigger();
    assert.equal(await thread.next('told'), 1);
  });

  for (const end of ['terminate', 'end', 'close'] as const) {
    it(`are free when the thread that has them is gone: ${end}`, async () => {
      await using device = await VfioDevice.open(lab.nvme0);
      const msix = device.interrupt('msix');
      for (let round = 0; round < 2; round++) {
        const thread = await another(device);
        await thread.does('count', 'msix');
        assert.equal(msix.enabled, true);
        await failure(() => msix.enable(), 'ERR_VFIO_IRQ_ENABLED');
        if (end === 'terminate') await thread.worker.terminate();
        else if (end === 'close') await thread.does('close');
        else {
          const exit = once(thread.worker, 'exit');
          thread.worker.postMessage(['end']);
          await exit;
        }
        assert.equal(msix.enabled, false);
        // More than the other had: what is left of that would be in the way.
        const [vector] = await msix.enable(3);
        assert.ok(vector);
        const told = once(vector, 'interrupt');
        msix.trigger();
        assert.deepEqual(await told, [1]);
        await msix.disable();
        assert.equal((await device.interrupt('intx').enable()).length, 1);
        await device.interrupt('intx').disable();
      }
    }).timeout(120_000);
  }

  it('are refused or had by a second owner in the same thread', async () => {
    if (backend !== 'cdev') return;
    await using device = await VfioDevice.open(lab.edu);
    using own = device.dup();
    await using same = VfioDevice.fromFd(own, { iommufd: device.iommufd, devId: device.devId });
    await device.interrupt('msi').enable();
    await failure(() => same.interrupt('msi').enable(), 'ERR_VFIO_IRQ_ENABLED');
    await same.interrupt('msi').disable();
    assert.equal(device.interrupt('msi').enabled, false);
    await device.interrupt('msi').disable();
    await same.interrupt('msi').enable();
    await device.close();
    assert.equal(same.interrupt('msi').enabled, true);
    await same.interrupt('msi').disable();
  });
});
