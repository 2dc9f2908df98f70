import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { constants as os } from 'node:os';
import { describe, it } from 'mocha';
import type { BoundCdev } from '../../lib/backend/cdev_device.ts';
import { VfioError } from '../../lib/core/errors.ts';
import { run, runSync } from '../../lib/core/steps.ts';
import { Interrupts } from '../../lib/interrupt/interrupts.ts';
import { PeerMaps } from '../../lib/region/owner.ts';
import { Region } from '../../lib/region/region.ts';
import { DeviceState } from '../../lib/reset/device_state.ts';
import { decodeHotResetInfo, planHotReset } from '../../lib/reset/hot_reset.ts';
import { resetDevice } from '../../lib/reset/reset.ts';
import { failure } from '../support/errors.ts';
import { withBinding } from '../support/fake_binding.ts';
import { fileOwner, fileRegion, regionInfo } from '../support/file_region.ts';
import { countCalls } from '../support/traced_binding.ts';
import { type Entry, tree } from '../support/tree.ts';

const { EAGAIN, EBUSY, EINVAL, ENODEV, ENOSPC } = os.errno;

/** A device in a folder of sysfs that holds these files. */
function fakeDevice(files: Record<string, Entry> = {}): DeviceState {
  const device = { bus: 'pci', address: '0000:3b:00.0', sysfsPath: tree(files) };
  const location = { path: '/dev/vfio/devices/vfio0', device };
  const bound = { fd: { native: 1 }, location, devId: 1, iommufd: {} } as unknown as BoundCdev;
  return new DeviceState(bound, new Interrupts(bound, () => []), new PeerMaps(), () => undefined);
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
        await run(resetDevice(fakeDevice()));
        assert.equal(answers.length, 2);
        runSync(resetDevice(fakeDevice()));
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
      const error = await failure(() => run(resetDevice(fakeDevice({ uevent: '' }))), 'EAGAIN');
      assert.match(error.message, /its lock is held/);
      assert.equal(calls, 20);
      await failure(() => {
        runSync(resetDevice(fakeDevice()));
      }, 'EAGAIN');
      assert.equal(calls, 40);
      // While it is removed the kernel names its driver and has no link to it.
      const uevent = 'DRIVER=vfio-pci\nPCI_ID=1234:11E8\n';
      const removed = await failure(() => run(resetDevice(fakeDevice({ uevent }))), 'EAGAIN');
      assert.match(removed.message, /being removed: vfio-pci lets go of it/);
      assert.equal(calls, 41);
      const bound = fakeDevice({ uevent, driver: { pointsTo: '../drivers/vfio-pci' } });
      await failure(() => run(resetDevice(bound)), 'EAGAIN');
      assert.equal(calls, 61);
    });
  });
});

it('a reset of a device that has none says so, with its reason', async () => {
  await withBinding(
    { reset: () => Promise.resolve(-EINVAL), resetSync: () => -EINVAL },
    async () => {
      for (const reset of [
        () => run(resetDevice(fakeDevice())),
        () => {
          runSync(resetDevice(fakeDevice()));
        },
      ]) {
        const error = await failure(reset, 'EINVAL');
        assert.ok(error instanceof VfioError);
        assert.deepEqual([error.reason, error.facts], ['no-reset', { address: '0000:3b:00.0' }]);
        assert.match(error.message, /^EINVAL: 0000:3b:00.0 has no reset of its own; planHotReset/);
        assert.match(error.hint ?? '', /planHotReset.*docs\/errors.md#no-reset/);
      }
    },
  );
});

describe('the command register around a reset', () => {
  const command = 6;
  const configInfo = { index: 7, name: 'config', size: 256 };

  function pciDevice(config: Region): DeviceState {
    const { bound, interrupts } = fakeDevice();
    return new DeviceState(bound, interrupts, new PeerMaps(), () => config);
  }

  /** A configuration space after a reset, and the calls that were made. */
  async function reset(forget: boolean): Promise<{ config: Buffer; calls: string[] }> {
    using file = fileRegion(Uint8Array.of(1, 2, 3, 4, command, 0, 7, 8), configInfo);
    const { region } = file;
    const resetSync = (): number => {
      if (forget) writeFileSync(file.path, new Uint8Array(0x2000 + configInfo.size));
      return 0;
    };
    const calls: string[] = [];
    await withBinding({ resetSync }, () =>
      withBinding(countCalls(calls), () => {
        runSync(resetDevice(pciDevice(region)));
      }),
    );
    return { config: readFileSync(file.path).subarray(0x2000, 0x2008), calls };
  }

  it('is written where the reset changed it, and only there', async () => {
    const kept = await reset(false);
    assert.deepEqual([...kept.config], [1, 2, 3, 4, command, 0, 7, 8]);
    assert.deepEqual(kept.calls, ['pread16', 'resetSync', 'pread16']);
    const forgotten = await reset(true);
    assert.deepEqual([...forgotten.config], [0, 0, 0, 0, command, 0, 0, 0]);
    assert.deepEqual(forgotten.calls, ['pread16', 'resetSync', 'pread16', 'pwrite16']);
  });

  it('is named by the error of an access', async () => {
    // Nothing is mapped at address 0: reading there is EIO, as in a device that is gone.
    const owner = fileOwner('/proc/self/mem');
    const config = Region.of(owner, regionInfo({ ...configInfo, offset: 0n }));
    try {
      await withBinding({ resetSync: () => assert.fail('reset') }, async () => {
        const error = await failure(() => {
          runSync(resetDevice(pciDevice(config)));
        }, 'EIO');
        assert.ok(error instanceof VfioError);
        assert.deepEqual([error.region, error.syscall], ['config+0x4', 'pread']);
      });
    } finally {
      owner.fd.closeSync();
    }
  });
});

const noClaims = { isOurs: () => false, isOpen: () => false };

describe('struct vfio_pci_hot_reset_info', () => {
  it('tells addresses, and whose they are', () => {
    const words = hotResetInfo(1, [
      [7, 0, 0x3b, 0x00],
      [0, 0, 0x3b, 0x0a],
      [0xffffffff, 0x1f, 0xff, 0xff],
    ]);
    const none = { devId: undefined, group: undefined };
    assert.deepEqual(decodeHotResetInfo(words, noClaims), {
      owned: false,
      devices: [
        { address: '0000:3b:00.0', ownership: 'open', devId: 7, group: undefined },
        { address: '0000:3b:01.2', ownership: 'owned', ...none },
        { address: '001f:ff:1f.7', ownership: 'foreign', ...none },
      ],
    });
    assert.equal(decodeHotResetInfo(hotResetInfo(3, []), noClaims).owned, true);
  });

  it('tells groups to a device that was opened by its group', () => {
    const words = hotResetInfo(0, [
      [7, 0, 0x3b, 0x00],
      [7, 0, 0x3b, 0x01],
      [8, 0, 0x3b, 0x02],
    ]);
    const claims = {
      isOurs: (group: number) => group === 7,
      isOpen: (address: string) => address === '0000:3b:00.0',
    };
    const { owned, devices } = decodeHotResetInfo(words, claims);
    assert.equal(owned, false);
    assert.deepEqual(
      devices.map(({ ownership, group }) => [ownership, group]),
      [
        ['open', 7],
        ['owned', 7],
        ['foreign', 8],
      ],
    );
    const all = { ...claims, isOurs: () => true };
    assert.equal(decodeHotResetInfo(words, all).owned, true);
  });

  it('is refused where it contradicts itself', async () => {
    const short = hotResetInfo(3, [[1, 0, 0, 0]]).subarray(0, 4);
    await failure(() => decodeHotResetInfo(short, noClaims), 'ERR_VFIO_BAD_ANSWER');
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
