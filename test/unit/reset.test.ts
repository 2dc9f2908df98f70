import assert from 'node:assert/strict';
import { constants as os } from 'node:os';
import { describe, it } from 'mocha';
import type { BoundCdev } from '../../lib/device/bind.ts';
import { Interrupts } from '../../lib/interrupt/interrupts.ts';
import { planHotReset } from '../../lib/reset/hot_reset.ts';
import { decodeHotResetInfo } from '../../lib/reset/hot_reset_info.ts';
import { resetDevice, resetDeviceSync } from '../../lib/reset/reset.ts';
import { Resettable } from '../../lib/reset/resettable.ts';
import { failure } from '../support/errors.ts';
import { withBinding } from '../support/fake_binding.ts';

const { EAGAIN, EBUSY, ENODEV, ENOSPC } = os.errno;

function fakeDevice(): Resettable {
  const location = { path: '/dev/vfio/devices/vfio0', device: { address: '0000:3b:00.0' } };
  const bound = { fd: { native: 1 }, location, devId: 1, iommufd: {} } as unknown as BoundCdev;
  return new Resettable(bound, new Interrupts(bound, () => []), () => []);
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

  it('is not tried for ever, and once only for a device that is wanted back', async () => {
    let calls = 0;
    const held = (): number => {
      calls++;
      return -EAGAIN;
    };
    await withBinding({ reset: () => Promise.resolve(held()), resetSync: held }, async () => {
      const error = await failure(() => resetDevice(fakeDevice()), 'EAGAIN');
      assert.match(error.message, /its lock is held/);
      assert.equal(calls, 20);
      await failure(() => {
        resetDeviceSync(fakeDevice());
      }, 'EAGAIN');
      assert.equal(calls, 40);
      const device = fakeDevice();
      device.wanted = true;
      const wanted = await failure(() => resetDevice(device), 'EAGAIN');
      assert.match(wanted.message, /being removed: close it/);
      assert.equal(calls, 41);
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
      const plan = await planHotReset(fakeDevice());
      assert.deepEqual([plan.possible, plan.devices.length], [true, 1]);
    });
    assert.deepEqual(asked, [16, 256, 65535]);
    await withBinding({ hotResetInfo: () => Promise.resolve(-ENOSPC) }, () =>
      failure(() => planHotReset(fakeDevice()), 'ENOSPC'),
    );
    await withBinding({ hotResetInfo: () => Promise.resolve(-ENODEV) }, async () => {
      assert.equal((await planHotReset(fakeDevice())).possible, false);
    });
  });
});
