import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, it } from 'mocha';
import { DmaBuffer, openDevices, VfioDevice, VfioError } from '../../lib/index.ts';
import { FakeHost, type FakeCall, type FakeDevice } from '../../lib/testing/index.ts';

describe('the stack of an error', () => {
  const limit = Error.stackTraceLimit;
  let host: FakeHost;
  let fake: FakeDevice;
  let device: VfioDevice;

  before(() => {
    // As many frames as V8 takes; mocha has it take all.
    Error.stackTraceLimit = 10;
  });
  after(() => {
    Error.stackTraceLimit = limit;
  });
  beforeEach(async () => {
    host = FakeHost.install();
    fake = host.addDevice({ msix: 2 });
    device = await VfioDevice.open(fake.address);
  });
  afterEach(async () => {
    await device.close();
    host.dispose();
  });

  /** The stack of what `call` fails with, which a function `theCaller` makes. */
  async function stackOf(call: () => unknown): Promise<string> {
    async function theCaller(): Promise<void> {
      await call();
    }
    const error = await theCaller().catch((error: unknown) => error);
    assert.ok(error instanceof VfioError || error instanceof AggregateError, 'it did not fail');
    return error.stack ?? '';
  }

  function refuse(call: FakeCall): void {
    host.inject({ call, errno: 'EIO' });
  }

  const calls: Record<string, () => unknown> = {
    'an open': () => VfioDevice.open('0000:99:00.0'),
    'a blocking open': () => VfioDevice.openSync('0000:99:00.0'),
    'a bind': () => {
      refuse('VFIO_DEVICE_BIND_IOMMUFD');
      return VfioDevice.open(host.addDevice().address);
    },
    'an open of several': () => openDevices(['0000:99:00.0']),
    'an attach': () => {
      refuse('VFIO_DEVICE_ATTACH_IOMMUFD_PT');
      return device.attach(device.createIoas());
    },
    'a map': async () => {
      refuse('IOMMU_IOAS_MAP_FILE');
      await device.createIoas().map(await DmaBuffer.allocate(4096));
    },
    'an unmap': () => device.createIoas().unmap(0x1000n, 0x1000n),
    'an allocation': () => DmaBuffer.allocate(2 ** 50),
    'an enable': async () => {
      refuse('VFIO_DEVICE_SET_IRQS');
      await device.interrupt('msix').enable();
    },
    'an enable of what is enabled': async () => {
      await device.interrupt('msix').enable();
      await device.interrupt('msix').enable();
    },
    'a disable': async () => {
      await device.interrupt('msix').enable();
      refuse('VFIO_DEVICE_SET_IRQS');
      await device.interrupt('msix').disable();
    },
    'a reset': () => {
      refuse('VFIO_DEVICE_RESET');
      return device.reset();
    },
    'a wait for an interrupt': async () => {
      const [vector] = await device.interrupt('msix').enable();
      await vector?.wait({ timeout: 1 });
    },
    'a feature': () => {
      refuse('VFIO_DEVICE_FEATURE');
      return device.feature.get(9, 1);
    },
  };

  for (const [name, call] of Object.entries(calls)) {
    it(`has who made the call, of ${name}`, async () => {
      assert.match(await stackOf(call), /^ +at (async )?theCaller /m);
    });
  }

  it('is as long as the program wants of its own functions', async () => {
    Error.stackTraceLimit = 0;
    assert.doesNotMatch(await stackOf(() => VfioDevice.open('0000:99:00.0')), /^ +at /m);
    assert.equal(Error.stackTraceLimit, 0);
    Error.stackTraceLimit = 10;
    await stackOf(() => VfioDevice.open('0000:99:00.0'));
    assert.equal(Error.stackTraceLimit, 10);
  });
});
