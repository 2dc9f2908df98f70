import assert from 'node:assert/strict';
import { once } from 'node:events';
import { afterEach, it } from 'mocha';
import { DmaBuffer, DmaPool, openCdev, openCdevSync, VfioDevice } from '../../lib/index.ts';
import { backend, openHost } from '../support/backend.ts';
import { describeLab } from '../support/devices.ts';
import { failure, vfioFailure } from '../support/errors.ts';
import { driverOf, plug, rebind, unbind, unplug } from '../support/hotplug.ts';
import { assertNoMore, openFds } from '../support/proc.ts';

describeLab('a device that is asked for', ['edu-port', 'edu', 'nvme0', 'e1000e-port'], (lab) => {
  const spec = lab['edu-port'];
  let unplugged = false;

  afterEach(async () => {
    if (unplugged) await plug(spec);
    else if (driverOf(spec) === undefined) rebind(spec);
    unplugged = false;
  });

  it('closes itself when it is unplugged', async () => {
    const device = await VfioDevice.open(spec);
    assert.ok(device.requestEvents);
    unplugged = true;
    await Promise.all([unplug(spec), once(device, 'close')]);
    assert.throws(() => device.fd, { code: 'ERR_VFIO_CLOSED' });
    await failure(() => VfioDevice.open(spec, { timeout: 50 }), 'ERR_VFIO_NO_DEVICE');
  });

  it('says of all that it closed with itself that it was asked back', async () => {
    const device = await VfioDevice.open(spec);
    const bar = device.region('bar0').map();
    const ioas = backend === 'cdev' ? device.iommufd.createIoas() : undefined;
    const space = device.createIoas();
    if (backend === 'cdev') await device.attach(space);
    const buffer = await DmaBuffer.allocate(4096);
    const mapping = await space.map(buffer);
    const pool = new DmaPool(space);
    const block = await pool.allocate(64);
    const { index } = bar.registers({ index: { offset: 4 } });
    const region = device.region('bar0');
    const msi = device.interrupt('msi');
    const [vector] = await msi.enable();
    unplugged = true;
    await Promise.all([unplug(spec), once(device, 'close')]);
    const uses: (() => unknown)[] = [
      () => device.fd,
      () => bar.read32(0),
      () => {
        bar.write32(4, 0);
      },
      () => bar.readBatch32(new Uint32Array(1), new Uint32Array(1)),
      () => device.region('config').read16(0),
      () => device.interrupt('msi').enable(),
      () => vector?.fd,
      () => device.reset(),
      () => device.share(),
      () => {
        bar.write64LoHi(0, 0n);
      },
      () => bar.readBlock(0, new Uint32Array(1)),
      () => bar.poll32(0, 1, 1),
      () => bar.unsafeArrayBuffer(),
      () => bar.share(),
      () => {
        index.write(1);
      },
      () => region.read32(0),
      () => region.map(),
      () => msi.enableSync(),
      () => {
        msi.trigger();
      },
      () => device.interrupt('req').enable(),
      () => device.pci.readConfig(),
      () => device.feature.list(),
      () => device.hotReset(),
      () => space.map(buffer),
      () => space.unmapAll(),
      () => space.share(),
      () => space.iovaRanges(),
      () => device.attach(space),
      () => mapping.iovaOf(0),
      () => mapping.iovaLow(0),
      () => mapping.bytes,
      () => mapping.share(),
      () => block.iovaHigh(0),
      () => pool.allocate(64),
      () => pool.allocateSync(64),
      () => pool.share(),
      ...(ioas
        ? [() => device.iommufd.createIoas(), () => device.attach(ioas), () => ioas.id]
        : []),
    ];
    for (const [at, use] of uses.entries()) {
      const error = await vfioFailure(use, 'ERR_VFIO_CLOSED');
      const facts = { bus: 'pci', address: spec.address };
      assert.deepEqual(
        [error.reason, error.facts],
        ['asked-back', facts],
        `use ${at}: ${error.message}`,
      );
      assert.match(error.message, /is closed: .* was asked back/);
    }
    assert.ok(device.removalRequested, 'what was heard stays known');
    assert.ok(!mapping.mapped && !block.mapped);
    // The memory is this program's still, and goes without an error.
    await mapping.unmap();
    await pool.close();
    await buffer.dispose();
    const own = await VfioDevice.open(lab.edu);
    await own.close();
    const error = await vfioFailure(() => own.fd, 'ERR_VFIO_CLOSED');
    assert.equal(error.reason, undefined, 'what the program closes itself needs no reason');
  });

  it('closes itself when its driver is unbound', async () => {
    const device = await VfioDevice.open(spec);
    await Promise.all([unbind(spec), once(device, 'close')]);
    await failure(() => VfioDevice.open(spec, { timeout: 50 }), 'ERR_VFIO_NOT_BOUND_TO_VFIO');
  });

  it('is the listener’s to close, and answers until then', async () => {
    await using host = openHost();
    await using device = await VfioDevice.open(spec, host.options);
    await using ioas = host.createIoas(device);
    const done = unbind(spec);
    const [count] = (await once(device, 'request')) as [number];
    assert.equal(count, 1);
    assert.equal((await device.attach(ioas)) > 0, backend !== 'group');
    const vectors = await device.interrupt('msi').enable();
    assert.equal(vectors.length, 1);
    // The driver lets go of the name at once, and of the device when that is closed.
    await failure(() => VfioDevice.open(spec, { timeout: 50 }), 'ERR_VFIO_NOT_BOUND_TO_VFIO');
    // A group's node may be that of several devices, and names none.
    const code = backend === 'cdev' ? 'ENOENT' : 'ERR_INVALID_ARG_VALUE';
    await failure(() => VfioDevice.open(device.path, { timeout: 50 }), code);
    await device.close();
    await done;
  });

  it('is not armed where it is not wanted, nor when the descriptor was handed out', async () => {
    const events = (): string[] => openFds().filter((target) => target.includes('eventfd'));
    const before = events();
    await using silent = await VfioDevice.open(lab.edu, { requestEvents: false });
    assert.equal(silent.requestEvents, false);
    assertNoMore(events(), before);
    await using device = VfioDevice.openSync(lab.nvme0);
    assert.equal(device.requestEvents, true);
    assert.throws(() => {
      assertNoMore(events(), before);
    });
    await failure(() => device.interrupt('req').enable(), 'ERR_VFIO_IRQ_ENABLED');
    assert.ok(device.fd >= 0);
    assert.equal(device.requestEvents, false);
    assertNoMore(events(), before);
    assert.equal((await device.interrupt('req').enable()).length, 1);
    if (backend !== 'cdev') return;
    await using cdev = await openCdev(spec);
    await using bound = await cdev.bind(undefined, { requestEvents: false });
    assert.equal(bound.requestEvents, false);
    await bound.close();
    using second = openCdevSync(spec);
    using armed = second.bindSync();
    assert.equal(armed.requestEvents, true);
  });

  it('warns of an error where nobody listens, and lives on', async () => {
    await using device = await VfioDevice.open(lab['e1000e-port']);
    const warned = once(process, 'warning') as Promise<[Error & { code?: string }]>;
    device.interrupt('err').trigger();
    const [warning] = await warned;
    assert.deepEqual([warning.name, warning.code], ['VfioWarning', 'VFIO_DEVICE_ERROR']);
    assert.ok(warning.message.includes(lab['e1000e-port'].address));
    assert.ok(device.fd >= 0, 'it is open');
  });

  it('tells of an error, and of a request to the listener alone', async () => {
    await using device = await VfioDevice.open(lab['e1000e-port']);
    device.interrupt('err').trigger();
    await assert.rejects(once(device, 'close'), { code: 'ERR_VFIO_DEVICE_ERROR' });
    device.on('request', () => undefined);
    device.interrupt('req').trigger();
    await once(device, 'request');
    assert.ok(device.fd >= 0, 'it is open');
  });
});
