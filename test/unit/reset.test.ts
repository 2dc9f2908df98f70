import assert from 'node:assert/strict';
import { constants as os } from 'node:os';
import { describe, it } from 'mocha';
import type { BoundCdev } from '../../lib/device/bind.ts';
import { VfioError } from '../../lib/errors.ts';
import { Interrupts } from '../../lib/interrupt/interrupts.ts';
import { OpenMappings } from '../../lib/region/owner.ts';
import { Region } from '../../lib/region/region.ts';
import { planHotReset } from '../../lib/reset/hot_reset.ts';
import { decodeHotResetInfo } from '../../lib/reset/hot_reset_info.ts';
import { resetDevice, resetDeviceSync } from '../../lib/reset/reset.ts';
import { Resettable } from '../../lib/reset/resettable.ts';
import { run } from '../../lib/steps.ts';
import { failure } from '../support/errors.ts';
import { withBinding } from '../support/fake_binding.ts';
import { tree, type Entry } from '../support/tree.ts';

const { EAGAIN, EBUSY, ENODEV, ENOSPC } = os.errno;

/** A device in a folder of sysfs that holds these files. */
function fakeDevice(files: Record<string, Entry> = {}): Resettable {
  const device = { bus: 'pci', address: '0000:3b:00.0', sysfsPath: tree(files) };
  const location = { path: '/dev/vfio/devices/vfio0', device };
  const bound = { fd: { native: 1 }, location, devId: 1, iommufd: {} } as unknown as BoundCdev;
  return new Resettable(bound, new Interrupts(bound, () => []), () => undefined);
}

/** struct vfio_pci_hot_reset_info: [device id, segment, bus, devfn] for each. */
function hotResetInfo(flags: number, devices: number[][]): Uint32Array {
  const words = devices.flatMap(([devId = 0, segment = 0, bus = 0, devfn = 0]) => {
    const place = new Uint8Array(4);
    new Uint16Array(place.buffer)[0] = segment;
    place.set([bus, devfn], 2);
    return [devId, new Uint32Array(place.buffer)[0] ?? 0];
  });
  return Uint32Array.from([12 + words.length * 4, flags, devices.length, ...words]);
}

describe('a reset whose lock is held', () => {
  for (const [errno, name] of [
    [EAGAIN, 'EAGAIN'],
    [EBUSY, 'EBUSY'],
  ] as const) {
    it(`is tried again, and is done when it is free (${name})`, async () => {
      const answers = [-errno, -errno, 0, -errno, 0];
      const next = (): number => answers.shift() ?? -1;
      const fakes = { reset: () => Promise.resolve(next()), resetSync: next };
      await withBinding(fakes, async () => {
        await resetDevice(fakeDevice());
        assert.equal(answers.length, 2);
        resetDeviceSync(fakeDevice());
        assert.equal(answers.length, 0);
      });
    });
  }

  it('is not tried for ever, and once only for a device that is being removed', async () => {
    let calls = 0;
    const held = (): number => {
      calls++;
      return -EAGAIN;
    };
    await withBinding({ reset: () => Promise.resolve(held()), resetSync: held }, async () => {
      const error = await failure(() => resetDevice(fakeDevice({ uevent: '' })), 'EAGAIN');
      assert.match(error.message, /its lock is held/);
      assert.equal(calls, 20);
      await failure(() => {
        resetDeviceSync(fakeDevice());
      }, 'EAGAIN');
      assert.equal(calls, 40);
      // While it is removed the kernel names its driver and has no link to it.
      const uevent = 'DRIVER=vfio-pci\nPCI_ID=1234:11E8\n';
      const removed = await failure(() => resetDevice(fakeDevice({ uevent })), 'EAGAIN');
      assert.match(removed.message, /being removed: vfio-pci lets go of it/);
      assert.equal(calls, 41);
      const bound = fakeDevice({ uevent, driver: { pointsTo: '../drivers/vfio-pci' } });
      await failure(() => resetDevice(bound), 'EAGAIN');
      assert.equal(calls, 61);
    });
  });
});

describe('the command register around a reset', () => {
  const { EIO } = os.errno;

  /** A device with a configuration space of 256 bytes. */
  function pciDevice(): Resettable {
    const { bound, interrupts } = fakeDevice();
    const { fd, location } = bound;
    const owner = { fd, location, config: undefined, mappings: new OpenMappings() };
    const info = { index: 7, name: 'config', flags: [], size: 256, offset: 0n, capabilities: [] };
    const config = Region.of(owner, info);
    return new Resettable(bound, interrupts, () => config);
  }

  it('is written where the reset changed it, and only there', async () => {
    let command = 6;
    const written: number[] = [];
    const fakes = {
      pread: (_: unknown, _high: number, _low: number, _at: number, bytes: Uint8Array): number => {
        bytes.set([command, 0]);
        return 2;
      },
      pwriteSync: (_: unknown, _high: number, _low: number, at: number, bytes: Uint8Array) => {
        written.push(at, ...bytes);
        return 2;
      },
      resetSync: () => 0,
    };
    await withBinding(fakes, () => {
      resetDeviceSync(pciDevice());
      assert.deepEqual(written, []);
    });
    const forgetting = { ...fakes, resetSync: () => (command = 0) };
    await withBinding(forgetting, () => {
      resetDeviceSync(pciDevice());
      assert.deepEqual(written, [4, 6, 0]);
    });
  });

  it('is named by the error of an access', async () => {
    await withBinding({ pread: () => -EIO, resetSync: () => assert.fail('reset') }, async () => {
      const error = await failure(() => {
        resetDeviceSync(pciDevice());
      }, 'EIO');
      assert.ok(error instanceof VfioError);
      assert.deepEqual([error.region, error.syscall], ['config+0x4', 'pread']);
    });
  });
});

describe('struct vfio_pci_hot_reset_info', () => {
  it('tells addresses, and whose they are', () => {
    const words = hotResetInfo(1, [
      [7, 0, 0x3b, 0x00],
      [0, 0, 0x3b, 0x0a],
      [0xffffffff, 0x1f, 0xff, 0xff],
    ]);
    assert.deepEqual(decodeHotResetInfo(words), {
      owned: false,
      devices: [
        { address: '0000:3b:00.0', ownership: 'open', devId: 7 },
        { address: '0000:3b:01.2', ownership: 'owned', devId: undefined },
        { address: '001f:ff:1f.7', ownership: 'foreign', devId: undefined },
      ],
    });
    assert.equal(decodeHotResetInfo(hotResetInfo(3, [])).owned, true);
  });

  it('is refused where it contradicts itself', async () => {
    const groups = hotResetInfo(0, [[1, 0, 0, 0]]);
    await failure(() => decodeHotResetInfo(groups), 'ERR_VFIO_BAD_ANSWER');
    const short = hotResetInfo(3, [[1, 0, 0, 0]]).subarray(0, 4);
    await failure(() => decodeHotResetInfo(short), 'ERR_VFIO_BAD_ANSWER');
  });

  it('is asked for with more room where there is too little', async () => {
    const asked: number[] = [];
    const full = hotResetInfo(3, [[1, 0, 0x3b, 0]]);
    const hotResetInfoFake = (_device: number, room: number): Promise<Uint32Array | number> => {
      asked.push(room);
      return Promise.resolve(room < 1000 ? -ENOSPC : full);
    };
    await withBinding({ hotResetInfo: hotResetInfoFake }, async () => {
      const plan = await run(planHotReset(fakeDevice()));
      assert.deepEqual([plan.possible, plan.devices.length], [true, 1]);
    });
    assert.deepEqual(asked, [16, 256, 65535]);
    await withBinding({ hotResetInfo: () => Promise.resolve(-ENOSPC) }, () =>
      failure(() => run(planHotReset(fakeDevice())), 'ENOSPC'),
    );
    await withBinding({ hotResetInfo: () => Promise.resolve(-ENODEV) }, async () => {
      assert.equal((await run(planHotReset(fakeDevice()))).possible, false);
    });
  });
});
