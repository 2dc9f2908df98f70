import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { afterEach, it } from 'mocha';
import { listDevices, VfioDevice, VfioError, type InterruptVector } from '../../lib/index.ts';
import { busMaster, memory, readCommand, writeCommand } from '../support/command_register.ts';
import { backend, openHost } from '../support/backend.ts';
import { describeLab } from '../support/devices.ts';
import { failure } from '../support/errors.ts';
import { driverOf, plug, plugFunctions, rebind, unbind, unplug } from '../support/hotplug.ts';

/** Whether a trigger still reaches a vector. */
async function isAlive(device: VfioDevice, name: string, vector?: InterruptVector): Promise<void> {
  assert.ok(vector);
  const told = once(vector, 'interrupt');
  device.interrupt(name).trigger(vector.index);
  assert.deepEqual(await told, [1]);
}

/** What a plan says of an open device: its id in the iommufd, or its group. */
function ids(device: VfioDevice): { devId: number | undefined; group: number | undefined } {
  if (backend === 'cdev') return { devId: device.devId, group: undefined };
  return { devId: undefined, group: Number(device.name) };
}

describeLab('a reset', ['nvme0', 'edu', 'edu-port', 'mtty'], (lab) => {
  afterEach(() => {
    if (driverOf(lab['edu-port']) === undefined) rebind(lab['edu-port']);
  });

  for (const way of ['reset', 'resetSync'] as const) {
    it(`leaves the command register and the interrupts as they were (${way})`, async () => {
      await using device = await VfioDevice.open(lab.nvme0);
      writeCommand(device, memory | busMaster);
      const [, second] = await device.interrupt('msix').enable(2);
      await device[way]();
      assert.equal(readCommand(device) & (memory | busMaster), memory | busMaster);
      await isAlive(device, 'msix', second);
      assert.equal(device.interrupt('msix').vectors[1], second);
    });
  }

  it('is explained where there is none', async () => {
    await using device = await VfioDevice.open(lab.edu);
    assert.ok(!device.info.flags.includes('reset'));
    const error = await failure(() => device.reset(), 'EINVAL');
    assert.match(error.message, /no reset of its own; planHotReset/);
    assert.ok(error instanceof VfioError);
    assert.equal(error.reason, 'no-reset');
    await failure(() => {
      device.resetSync();
    }, 'EINVAL');
    const plan = await device.planHotReset();
    assert.deepEqual([plan.possible, plan.devices], [false, []]);
    const hot = await failure(() => device.hotReset(), 'ERR_VFIO_HOT_RESET');
    assert.match(hot.message, /neither its slot nor its bus/);
    await using mdev = await VfioDevice.open(lab.mtty);
    await failure(() => mdev.planHotReset(), 'ENOTTY');
    await mdev.reset();
  });

  it('stops trying when the device is being removed', async () => {
    const spec = lab['edu-port'];
    await using device = await VfioDevice.open(spec);
    const done = unbind(spec);
    await once(device, 'request');
    const error = await failure(() => device.reset(), 'EAGAIN');
    assert.match(error.message, /being removed/);
    await device.close();
    await done;
  });

  it('of the bus is done where only the device is on it', async () => {
    await using device = await VfioDevice.open(lab['edu-port']);
    writeCommand(device, memory | busMaster);
    const [vector] = await device.interrupt('msi').enable();
    const { address } = lab['edu-port'];
    const driver = 'vfio-pci';
    const itself = { address, ownership: 'open', ...ids(device), driver };
    const plan = await device.planHotReset();
    assert.deepEqual(plan, { devices: [itself], possible: true, reason: undefined });
    assert.deepEqual(await device.hotReset(), plan);
    assert.equal(readCommand(device) & busMaster, busMaster);
    await isAlive(device, 'msi', vector);
  });
});

describeLab('a hot reset of several devices', ['nvme-sriov', 'edu-port'], (lab) => {
  const pfSpec = lab['nvme-sriov'];
  const numVfs = `/sys/bus/pci/devices/${pfSpec.address}/sriov_numvfs`;

  it('is refused where one is somebody else’s, and tells which', async () => {
    await using host = openHost();
    await using pf = await VfioDevice.open(pfSpec, host.options);
    // Only now: QEMU's virtual functions do not outlive the reset that opening their parent is.
    writeFileSync(numVfs, '2');
    const found = await listDevices();
    const addresses = found.find(({ address }) => address === pfSpec.address)?.virtfns ?? [];
    assert.equal(addresses.length, 2);
    const refused = await pf.planHotReset();
    assert.deepEqual([refused.possible, refused.devices.length], [false, 3]);
    for (const address of addresses) {
      assert.match(
        refused.reason ?? '',
        new RegExp(`${address} \\(driver vfio-pci\\) is not open`),
      );
    }
    const error = await failure(() => pf.hotReset(), 'ERR_VFIO_HOT_RESET');
    assert.match(error.message, /hit devices that are not this program/);
    // By its cdev, the kernel resets virtual functions with nothing else: they are in the way also
    // when open. Of a group it asks no more than that it is ours.
    const [first = ''] = addresses;
    const vfToken = '8699b0f6-5c57-4d4e-a371-4f0e0d3b5f1c';
    await pf.feature.setVfToken(vfToken);
    const vf = await VfioDevice.open(first, { ...host.options, vfToken });
    assert.deepEqual(
      (await pf.planHotReset()).devices.map(({ ownership }) => ownership),
      ['open', backend === 'cdev' ? 'foreign' : 'open', 'foreign'],
    );
    await vf.close();
    writeFileSync(numVfs, '0');
    assert.equal((await pf.planHotReset()).possible, true);
  });

  it('restores each that is open in the iommufd', async () => {
    await unplug(lab['edu-port']);
    const functions = await plugFunctions(lab['edu-port'], [1, 0]);
    const [other, self] = functions;
    assert.ok(other && self);
    try {
      await using host = openHost();
      await using device = await VfioDevice.open(self, host.options);
      const ownerships = async (): Promise<string[]> =>
        (await device.planHotReset()).devices.map(({ ownership }) => ownership);
      // In the group of the one that is open, so that nobody else can have it.
      assert.deepEqual(await ownerships(), ['open', 'owned']);
      await device.hotReset();

      await using sibling = await VfioDevice.open(other, host.options);
      const [mine] = await device.interrupt('msi').enable();
      const [its] = await sibling.interrupt('msi').enable();
      for (const one of [device, sibling]) writeCommand(one, memory | busMaster);
      assert.deepEqual(await ownerships(), ['open', 'open']);
      await device.hotReset();
      for (const one of [device, sibling]) assert.ok(readCommand(one) & busMaster);
      await isAlive(device, 'msi', mine);
      await isAlive(sibling, 'msi', its);
      await sibling.close();
      await unbind(other);
      const plan = await device.planHotReset();
      assert.equal(plan.possible, false);
      assert.match(
        plan.reason ?? '',
        /has no driver that can be seen here, and must have a VFIO driver/,
      );
    } finally {
      await unplug(self);
      await plug(lab['edu-port']);
    }
  });
});
