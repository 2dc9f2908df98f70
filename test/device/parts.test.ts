import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { afterEach, it } from 'mocha';
import { DmaBuffer, DmaPool, fromShared, VfioDevice } from '../../lib/index.ts';
import { confine, detach, openHost } from '../support/backend.ts';
import { describeLab } from '../support/devices.ts';
import { Edu } from '../support/edu.ts';
import { driverOf, rebind, unbind } from '../support/hotplug.ts';
import { root } from '../support/root.ts';

const library = new URL('build-test/programs/vfio.js', root).href;

/** edu's DMA engine, driven by nothing but a mapping of its BAR. */
const engine = `
  const { parentPort, workerData } = require('node:worker_threads');
  const registers = {
    from: { offset: 0x80, width: 64, split: true },
    to: { offset: 0x88, width: 64, split: true },
    size: { offset: 0x90 },
    command: { offset: 0x98, fields: { run: 1, toMemory: 2 } },
  };
  const copy = (bar, from, to, size) => {
    const regs = bar.registers(registers);
    for (const toMemory of [0, 1]) {
      regs.from.write(toMemory ? 0x40000n : from);
      regs.to.write(toMemory ? to : 0x40000n);
      regs.size.write(size);
      regs.command.writeFields({ run: 1, toMemory });
      while (regs.command.readFields().run === 1);
    }
  };
  const wait = (count) => new Promise((resolve) => parentPort.once('message', resolve));
  const main = async () => {
    const { fromShared } = await import(${JSON.stringify(library)});
    await body({ fromShared, tokens: workerData, copy, wait, post: (it) => parentPort.postMessage(it) });
  };
  main();`;

function startWorker(tokens: unknown, body: string): Worker {
  const code = `const body = async ({ fromShared, tokens, copy, wait, post }) => {${body}};${engine}`;
  return new Worker(code, { eval: true, workerData: tokens });
}

async function messageOf(worker: Worker): Promise<unknown> {
  const [message] = (await once(worker, 'message')) as [unknown];
  return message;
}

describeLab('what a driver’s thread needs', ['edu', 'edu-port', 'e1000e-port'], (lab) => {
  it('is a mapping, a pool and a BAR, by which a worker does DMA when all here is closed', async () => {
    await using host = openHost();
    const device = await VfioDevice.open(lab.edu, host.options);
    const ioas = host.createIoas(device);
    confine(ioas, Edu.lastIova);
    await device.attach(ioas);
    device.pci.setBusMaster(true);
    const buffer = await DmaBuffer.allocate(8192);
    const mapping = await ioas.map(buffer, { offset: 4096 });
    mapping.bytes.set([1, 2, 3, 4]);
    const pool = new DmaPool(ioas);
    const bar = device.region('bar0').map();
    const tokens = [bar.share(), mapping.share(), pool.share()];
    const worker = startWorker(
      tokens,
      `
      const [bar, mapping, pool] = tokens.map((token) => fromShared(token));
      post([mapping.iova, mapping.size, mapping.bytes[2]]);
      await wait();
      const block = await pool.allocate(100, 8192n);
      copy(bar, mapping.iovaOf(0), block.iovaOf(64), 16);
      copy(bar, block.iovaOf(64), mapping.iovaOf(1000), 16);
      post([[...block.bytes.subarray(64, 68)], block.iova % 8192n, mapping.bytes[1002]]);
      await wait();
      await mapping.unmap();
      await pool.close();
      bar.closeSync();
      post([mapping.mapped, block.mapped]);
      await wait();
      `,
    );
    assert.deepEqual(await messageOf(worker), [mapping.iova, 4096, 3]);
    // All that this thread had of it goes: the worker is an owner of each.
    await mapping.unmap();
    assert.ok(!mapping.mapped);
    await buffer.dispose();
    await pool.close();
    bar.closeSync();
    worker.postMessage('go on');
    assert.deepEqual(await messageOf(worker), [[1, 2, 3, 4], 0n, 3]);
    worker.postMessage('close');
    assert.deepEqual(await messageOf(worker), [false, false]);
    // Of the two owners the last unmapped it.
    assert.equal(await ioas.unmapAll(), 0n);
    worker.postMessage('end');
    await once(worker, 'exit');
    await detach(device);
    await device.close();
    await ioas.close();
  });

  it('is a mapping that a worker which only ended leaves to the others', async () => {
    await using host = openHost();
    await using device = await VfioDevice.open(lab.edu, host.options);
    await using ioas = host.createIoas(device);
    await device.attach(ioas);
    await using buffer = await DmaBuffer.allocate(4096);
    const mapping = await ioas.map(buffer);
    const token = mapping.share();
    const worker = startWorker([token], `post(fromShared(tokens[0]).mapped);`);
    const ended = once(worker, 'exit');
    assert.equal(await messageOf(worker), true);
    await ended;
    const second = fromShared(token);
    await mapping.unmap();
    assert.throws(() => mapping.iovaOf(0), { code: 'ERR_VFIO_CLOSED' });
    assert.equal(second.iovaOf(1), mapping.iova + 1n);
    await second.unmap();
    assert.equal(await ioas.unmapAll(), 0n);
    assert.throws(() => fromShared(token), { code: 'ERR_VFIO_CLOSED' });
    await detach(device);
  });

  afterEach(() => {
    if (driverOf(lab['edu-port']) === undefined) rebind(lab['edu-port']);
  });

  it('is told that the device is wanted back, here and in a worker, by loops that never end', async () => {
    const device = await VfioDevice.open(lab['edu-port']);
    let heard = 0;
    device.on('request', () => heard++);
    const bar = device.region('bar0').map();
    assert.equal(device.removalRequested, false);
    assert.equal(bar.removalRequested, false);
    const worker = startWorker(
      [bar.share(), device.share()],
      `
      const [bar, device] = tokens.map((token) => fromShared(token));
      post([bar.removalRequested, device.removalRequested]);
      while (!bar.removalRequested) bar.read32(0);
      while (!device.removalRequested) bar.read32(0);
      bar.closeSync();
      device.closeSync();
      post('closed');
      `,
    );
    assert.deepEqual(await messageOf(worker), [false, false]);
    const done = unbind(lab['edu-port']);
    const isWanted = (): boolean => device.removalRequested;
    while (!isWanted()) assert.equal(bar.read32(0), 0x0100_00ed);
    assert.equal(heard, 0, 'the loop did not turn');
    assert.ok(bar.removalRequested);
    assert.equal(await messageOf(worker), 'closed');
    device.closeSync();
    assert.ok(device.removalRequested, 'also when it is closed');
    await done;
  });

  it('is told of an error', async () => {
    await using device = await VfioDevice.open(lab['e1000e-port']);
    device.on('error', () => undefined);
    const isFailed = (): boolean => device.errorReported;
    assert.equal(isFailed(), false);
    device.interrupt('err').trigger();
    while (!isFailed());
    assert.equal(device.removalRequested, false);
  });

  it('is refused where nobody would hear', async () => {
    await using device = await VfioDevice.open(lab.edu, { requestEvents: false });
    assert.throws(() => device.removalRequested, { code: 'ERR_VFIO_IRQ_DISABLED' });
    await using heard = await VfioDevice.open(lab['edu-port']);
    assert.equal(heard.removalRequested, false);
    assert.ok(heard.fd > 0);
    const askUntilRefused = (): void => {
      while (!heard.removalRequested);
    };
    assert.throws(askUntilRefused, { code: 'ERR_VFIO_IRQ_DISABLED' });
  });
});
