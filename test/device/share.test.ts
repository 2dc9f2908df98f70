import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { it } from 'mocha';
import { DmaBuffer, Iommufd, VfioDevice } from '../../lib/index.ts';
import { describeLab } from '../support/devices.ts';
import { Edu } from '../support/edu.ts';
import { failure } from '../support/errors.ts';
import { root } from '../support/root.ts';

const library = new URL('build-test/programs/vfio.js', root).href;
const edu = new URL('build-test/test/support/edu.js', root).href;

/** Has the worker's device copy memory, and end with all of it open, or close it. */
const program = `
  const { parentPort, workerData } = require('node:worker_threads');
  (async () => {
    const { fromShared } = await import(${JSON.stringify(library)});
    const { Edu } = await import(${JSON.stringify(edu)});
    const [device, ioas, buffer] = workerData.tokens.map((token) => fromShared(token));
    const mapping = await ioas.map(buffer, { iova: 0x300000n });
    new Uint8Array(buffer.buffer).set([1, 2, 3]);
    const dma = new Edu(device);
    await dma.load(mapping.iova, 16);
    await dma.store(mapping.iova + 64n, 16);
    if (workerData.close) {
      await buffer.dispose();
      await ioas.close();
      await device.close();
    }
    parentPort.postMessage([device.device.address, device.info.regions.length]);
  })();`;

describeLab('objects that threads share', ['edu'], (lab) => {
  for (const close of [true, false]) {
    const title = close ? 'closes' : 'ends without closing';
    it(`are driven by a worker, which ${title} them, and then by this thread`, async () => {
      const iommufd = Iommufd.open();
      const ioas = iommufd.createIoas();
      const device = await VfioDevice.open(lab.edu, { iommufd });
      await device.attach(ioas);
      const buffer = await DmaBuffer.allocate(4096);
      const tokens = [device.share(), ioas.share(), buffer.share()];
      const worker = new Worker(program, { eval: true, workerData: { tokens, close } });
      const [answer] = (await once(worker, 'message')) as [unknown];
      if ((await once(worker, 'exit'))[0] !== 0) assert.fail('the worker failed');
      assert.deepEqual(answer, [lab.edu.address, device.info.regions.length]);
      const bytes = new Uint8Array(buffer.buffer);
      assert.deepEqual([...bytes.subarray(64, 67)], [1, 2, 3]);
      // A worker that only ended left its map in the address space, which this thread still has.
      assert.equal(await ioas.unmapAll(), close ? 0n : 4096n);
      const mapping = await ioas.map(buffer, { iova: 0x400000n });
      await new Edu(device).store(mapping.iova + 128n, 16);
      assert.deepEqual([...bytes.subarray(128, 131)], [1, 2, 3]);
      await buffer.dispose();
      await device.close();
      await ioas.close();
      await iommufd.close();
      // All owners are gone: the device is free.
      await (await VfioDevice.open(lab.edu, { timeout: 0 })).close();
    });
  }

  it('stay open while one of their owners has them', async () => {
    const { fromShared } = await import('../../lib/index.ts');
    const first = await VfioDevice.open(lab.edu);
    const second = fromShared(first.share());
    assert.deepEqual([second.devId, second.path], [first.devId, first.path]);
    await first.close();
    await failure(() => VfioDevice.open(lab.edu, { timeout: 0 }), 'EINVAL');
    assert.ok(second.info.regions.length > 0);
    await second.close();
    await (await VfioDevice.open(lab.edu)).close();
  });

  it('are registers, that a worker reads while the device is open and when it is closed here', async () => {
    const device = await VfioDevice.open(lab.edu);
    const registers = `
      const { parentPort, workerData } = require('node:worker_threads');
      (async () => {
        const { fromShared } = await import(${JSON.stringify(library)});
        const bar = fromShared(workerData);
        parentPort.postMessage(bar.read32(0));
        parentPort.once('message', () => {
          bar.write32(4, 0x12345678);
          parentPort.postMessage(bar.read32(4));
          bar.closeSync();
        });
      })();`;
    const workerData = device.region('bar0').map({ size: 4096 }).share();
    const worker = new Worker(registers, { eval: true, workerData });
    assert.deepEqual(await once(worker, 'message'), [0x010000ed]);
    await device.close();
    await failure(() => VfioDevice.open(lab.edu, { timeout: 0 }), 'EINVAL');
    worker.postMessage('go on');
    // edu answers with the inverse: its liveness register.
    assert.deepEqual(await once(worker, 'message'), [~0x12345678 >>> 0]);
    await once(worker, 'exit');
    await (await VfioDevice.open(lab.edu)).close();
  });
});
