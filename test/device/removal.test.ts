import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, it } from 'mocha';
import { binding, type NativeFd } from '../../lib/core/binding.ts';
import { type DeviceInfo, findCdev, openCdev, VfioDevice } from '../../lib/index.ts';
import { decodeInfo, readDeviceInfo } from '../../lib/info/read.ts';
import { backend, detach, openHost } from '../support/backend.ts';
import { describeLab } from '../support/devices.ts';
import { vfioFailure } from '../support/errors.ts';
import { withBinding } from '../support/fake_binding.ts';
import { driverOf, plug, rebind, unbind, unplug } from '../support/hotplug.ts';

/** The info that the kernel gives now; the device's own is from when it was opened. */
function askedAgain(device: VfioDevice): DeviceInfo {
  const fd = binding().dup(device.fd) as NativeFd;
  try {
    return decodeInfo(readDeviceInfo(fd, { syscall: 'ioctl' }));
  } finally {
    binding().closeSync(fd);
  }
}

/** Ways to take a device away, and why it does not open afterwards. */
const ways = [
  { name: 'driver/unbind', remove: unbind, code: 'ERR_VFIO_NOT_BOUND_TO_VFIO', after: 'not-bound' },
  { name: 'device_del', remove: unplug, code: 'ERR_VFIO_NO_DEVICE', after: 'no-device' },
] as const;

describeLab('a device whose removal waits for it', ['edu-port'], (lab) => {
  const spec = lab['edu-port'];
  const folder = `/sys/bus/pci/devices/${spec.address}`;
  const facts = { bus: 'pci', address: spec.address, driver: 'vfio-pci' };

  /** What takes the device away, until it is done. */
  let removal: Promise<void> | undefined;

  afterEach(async () => {
    await removal;
    removal = undefined;
    if (!existsSync(folder)) await plug(spec);
    else if (driverOf(spec) === undefined) rebind(spec);
  });

  for (const { name, remove, code, after } of ways) {
    it(`answers, is not reset, and does not open again: ${name}`, async () => {
      await using host = openHost();
      // Otherwise it would close itself when it is asked for.
      await using device = await VfioDevice.open(spec, { ...host.options, requestEvents: false });
      const { path } = device;
      await using ioas = host.createIoas(device);
      using bar = device.region('bar0').map();
      let removed = false;
      removal = remove(spec).then(() => {
        removed = true;
      });
      while (existsSync(`${folder}/driver`)) await delay(5);

      assert.deepEqual(askedAgain(device), device.info);
      assert.equal(device.region('bar0').read32(0), 0x010000ed);
      assert.equal(bar.read32(0), 0x010000ed);
      assert.equal(device.region('config').read16(0), 0x1234);
      assert.equal((await device.attach(ioas)) > 0, backend !== 'group');
      await detach(device);

      const { reset, resetSync } = binding();
      let calls = 0;
      const counting = {
        reset: (...args: Parameters<typeof reset>) => (calls++, reset(...args)),
        resetSync: (...args: Parameters<typeof resetSync>) => (calls++, resetSync(...args)),
      };
      await withBinding(counting, async () => {
        const refused = await vfioFailure(() => device.reset(), 'EAGAIN');
        assert.deepEqual([refused.reason, refused.facts], ['being-removed', facts]);
        assert.match(refused.message, /^EAGAIN: .*: it is being removed: vfio-pci lets go of it/);
        assert.equal(calls, 1);
        await vfioFailure(() => {
          device.resetSync();
        }, 'EAGAIN');
        assert.equal(calls, 2);
      });
      const hot = await vfioFailure(() => device.hotReset(), 'EAGAIN');
      assert.equal(hot.reason, 'being-removed');

      for (const open of [
        () => VfioDevice.open(spec, { timeout: 50 }),
        () => VfioDevice.openSync(spec),
        () => openCdev(spec, { timeout: 50 }),
        () => findCdev(spec),
      ]) {
        const error = await vfioFailure(open, 'ERR_VFIO_NOT_BOUND_TO_VFIO');
        assert.deepEqual([error.reason, error.certainty], ['being-removed', 'certain']);
        assert.deepEqual(error.facts, facts);
      }
      // A group's node names no device.
      if (backend === 'cdev') {
        const byNode = await vfioFailure(() => VfioDevice.open(path, { timeout: 50 }), 'ENOENT');
        assert.deepEqual([byNode.reason, byNode.facts], ['no-such-cdev', { path }]);
      }

      assert.ok(!removed, 'it waits for the device');
      await device.close();
      await removal;
      const error = await vfioFailure(() => VfioDevice.open(spec, { timeout: 50 }), code);
      assert.equal(error.reason, after);
      if (backend !== 'cdev') return;
      const gone = await vfioFailure(() => VfioDevice.openSync(path), 'ENOENT');
      assert.equal(gone.reason, 'no-such-cdev');
    });
  }

  for (const { name, remove } of ways) {
    it(`is removed when it closes itself, and leaves no descriptor: ${name}`, async () => {
      const device = await VfioDevice.open(spec);
      const bar = device.region('bar0').map();
      await device.interrupt('msi').enable();
      await remove(spec);
      assert.throws(() => device.fd, { code: 'ERR_VFIO_CLOSED' });
      assert.throws(() => bar.read32(0), { code: 'ERR_VFIO_CLOSED' });
    });
  }
});
