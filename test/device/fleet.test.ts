import assert from 'node:assert/strict';
import { it } from 'mocha';
import {
  closeDevices,
  Iommufd,
  openDevices,
  VfioDevice,
  VfioError,
  type DeviceSpec,
  type FleetProgress,
} from '../../lib/index.ts';
import { describeLab } from '../support/devices.ts';
import { failure } from '../support/errors.ts';
import { vfioFds } from '../support/proc.ts';

const nobody = '0000:ff:1f.7';

/** Closed whatever comes: else all tests after this one would find it taken. */
async function withDevice(spec: DeviceSpec, body: () => Promise<void>): Promise<void> {
  await using _held = await VfioDevice.open(spec);
  await body();
}

describeLab('many devices', ['nvme0', 'edu', 'mtty', 'nvme1'], (named) => {
  const specs = [named.nvme0, named.edu, named.mtty, named.nvme1];

  it('are opened at once, in their order, in one iommufd, and closed', async () => {
    await using iommufd = Iommufd.open();
    const devices = await openDevices(specs, { iommufd });
    const addresses = devices.map(({ device }) => device.address);
    assert.deepEqual(addresses, specs.map(({ address }) => address)); // prettier-ignore
    assert.equal(new Set(devices.map(({ devId }) => devId)).size, 4);
    assert.ok(devices.every((device) => device.iommufd === iommufd));
    await closeDevices(devices);
    await closeDevices(devices);
    await iommufd.close();
    assert.deepEqual(vfioFds(), []);
  });

  it('are opened one after the other where that is wanted, and each is told of', async () => {
    const seen: FleetProgress[] = [];
    const onProgress = (progress: FleetProgress): void => void seen.push(progress);
    await closeDevices(await openDevices(specs, { concurrency: 1, onProgress }));
    assert.deepEqual(
      seen,
      specs.map((spec, at) => ({ done: at + 1, failed: 0, total: 4, spec })),
    );
  });

  it('are all closed where some fail, each failure told', async () => {
    await withDevice(named.edu, async () => {
      const error = await failure(() => openDevices([...specs, nobody], { timeout: 0 }), undefined);
      assert.ok(error instanceof AggregateError);
      assert.match(error.message, /^2 of 5 devices did not open:\n/);
      const reasons = error.errors.map((each) => each instanceof VfioError && each.reason);
      assert.deepEqual(reasons, ['held-by-cdev', 'no-device']);
    });
    assert.deepEqual(vfioFds(), []);
  });

  it('stay open beside those that failed, with settle', async () => {
    const results = await openDevices([nobody, named.mtty], { settle: true });
    const [none, mtty] = results;
    assert.ok(none?.status === 'rejected' && mtty?.status === 'fulfilled');
    assert.equal((none.reason as VfioError).code, 'ERR_VFIO_NO_DEVICE');
    await mtty.value.close();
  });

  it('are closed again after an abort, and where the listener throws', async () => {
    const reason = new Error('enough');
    const abort = new AbortController();
    const abortAtFirst = (): void => {
      abort.abort(reason);
    };
    const aborting = openDevices(specs, {
      signal: abort.signal,
      settle: true,
      onProgress: abortAtFirst,
    });
    await assert.rejects(aborting, reason);
    assert.deepEqual(vfioFds(), []);
    const onProgress = (): never => {
      throw reason;
    };
    await assert.rejects(openDevices(specs, { onProgress, concurrency: 2 }), reason);
    assert.deepEqual(vfioFds(), []);
    await closeDevices(await openDevices(specs));
  });

  it('are none where none is named', async () => {
    assert.deepEqual(await openDevices([]), []);
    await closeDevices([]);
  });
});
