import assert from 'node:assert/strict';
import { once } from 'node:events';
import { it } from 'mocha';
import { type InterruptVector, VfioDevice } from '../../lib/index.ts';
import { describeLab } from '../support/devices.ts';
import { failure, vfioFailure } from '../support/errors.ts';
import { plug, unplug } from '../support/hotplug.ts';

/** Writing to it has the edu raise its interrupt, with these bits in its status. */
const raise = 0x60;
const acknowledge = 0x64;

async function enableOne(device: VfioDevice, name: string): Promise<InterruptVector> {
  const [vector] = await device.interrupt(name).enable();
  assert.ok(vector);
  return vector;
}

describeLab('waiting for an interrupt', ['edu', 'edu-port', 'nvme0', 'e1000e-port'], (lab) => {
  it('resolves when the device raises it', async () => {
    await using device = await VfioDevice.open(lab.edu, { busMaster: true });
    const bar = device.region('bar0').map();
    const vector = await enableOne(device, 'msi');
    for (let round = 1; round <= 100; round++) {
      const wait = vector.wait({ timeout: 60_000 });
      bar.write32(raise, round);
      assert.equal(await wait, 1);
      bar.write32(acknowledge, round);
    }
    await failure(() => vector.wait({ timeout: 0 }), 'ERR_VFIO_TIMEOUT');
  });

  it('says where bus mastering is off, without which no MSI comes', async () => {
    await using device = await VfioDevice.open(lab.edu);
    const vector = await enableOne(device, 'msi');
    device.pci.setBusMaster(false);
    const late = () => vfioFailure(() => vector.wait({ timeout: 1 }), 'ERR_VFIO_TIMEOUT');
    const off = await late();
    const { address } = device.device;
    const facts = { address, interrupt: 'msi' };
    assert.deepEqual([off.reason, off.facts], ['bus-master-off', facts]);
    assert.match(
      off.message,
      new RegExp(`^there was no interrupt of vector 0 of msi of ${address} `),
    );
    device.pci.setBusMaster(true);
    assert.equal((await late()).reason, undefined);
  });

  it('is for one vector of several (MSI-X)', async () => {
    for (const name of ['nvme0', 'e1000e-port'] as const) {
      await using device = await VfioDevice.open(lab[name]);
      const msix = device.interrupt('msix');
      const [first, second] = await msix.enable(3);
      assert.ok(first && second);
      const other = failure(() => first.wait({ timeout: 5 }), 'ERR_VFIO_TIMEOUT');
      const waits = [second.wait(), second.wait()];
      msix.trigger(1);
      assert.deepEqual(await Promise.all(waits), [1, 1]);
      await other;
      for (let at = 0; at < 7; at++) msix.trigger(0);
      assert.equal(await first.wait(), 7);
    }
  });

  it('goes on over a reset, and ends when the interrupt is disabled or the device closed', async () => {
    const device = await VfioDevice.open(lab.nvme0);
    const msix = device.interrupt('msix');
    const [first, second] = await msix.enable(2);
    assert.ok(first && second);
    const wait = second.wait();
    await device.reset();
    msix.trigger(1);
    assert.equal(await wait, 1);
    const dropped = second.wait();
    await Promise.all([failure(() => dropped, 'ERR_VFIO_CLOSED'), msix.resize(1)]);
    const counted = first.wait();
    msix.trigger(0);
    await msix.disable();
    assert.equal(await counted, 1, 'what was counted before is told');
    await failure(() => first.wait(), 'ERR_VFIO_CLOSED');
    for (const how of ['close', 'closeSync'] as const) {
      const own = await VfioDevice.open(lab.edu);
      const vector = await enableOne(own, 'msi');
      const waits = [vector.wait(), vector.wait({ timeout: 60_000 })];
      await Promise.all([
        ...waits.map((each) => failure(() => each, 'ERR_VFIO_CLOSED')),
        own[how](),
      ]);
    }
    await device.close();
  });

  it('says that the device was asked back when it is unplugged', async () => {
    const spec = lab['edu-port'];
    const device = await VfioDevice.open(spec);
    const vector = await enableOne(device, 'msi');
    const wait = vector.wait();
    try {
      const [error] = await Promise.all([
        vfioFailure(() => wait, 'ERR_VFIO_CLOSED'),
        unplug(spec),
        once(device, 'close'),
      ]);
      assert.equal(error.reason, 'asked-back');
      assert.match(error.message, /^vector 0 of msi of [\da-f:.]+ is closed: /);
    } finally {
      await plug(spec);
    }
  });
});
