import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'mocha';
import type { BoundCdev } from '../../lib/backend/cdev_device.ts';
import { runSync } from '../../lib/core/steps.ts';
import { PciFunction } from '../../lib/device/pci_function.ts';
import type { DeviceInfo } from '../../lib/info/decode.ts';
import { Interrupts } from '../../lib/interrupt/interrupts.ts';
import { PeerMaps } from '../../lib/region/owner.ts';
import { Region } from '../../lib/region/region.ts';
import { resetDevice } from '../../lib/reset/reset.ts';
import { DeviceState } from '../../lib/reset/device_state.ts';
import { failure } from '../support/errors.ts';
import { withBinding } from '../support/fake_binding.ts';
import { type FileRegion, fileRegion, regionInfo } from '../support/file_region.ts';
import { put } from '../support/kernel_bytes.ts';

// A device that is gone, or asleep, reads as all ones.

const config = { index: 7, name: 'config', size: 0x100 };

function configSpace(bytes: Uint8Array): FileRegion & { pci: PciFunction } {
  const file = fileRegion(bytes, config);
  const info = { regions: [regionInfo(config)] } as unknown as DeviceInfo;
  return { ...file, pci: PciFunction.of(file.owner, info) };
}

const ones = new Uint8Array(256).fill(0xff);

describe('a device whose configuration space reads as ones', () => {
  it('has no Command register whose bits are on, and no power state', async () => {
    const { pci, owner } = configSpace(ones);
    assert.equal(pci.readConfig().responds, false);
    const calls = {
      command: () => pci.command(),
      setBusMaster: () => {
        pci.setBusMaster(true);
      },
      setMemory: () => {
        pci.setMemory(true);
      },
      powerState: () => pci.powerState(),
      setPowerState: () => pci.setPowerState('D0'),
    };
    for (const [name, call] of Object.entries(calls)) {
      const { message } = await failure(call, 'EIO');
      assert.match(message, /does not answer/, name);
    }
    owner.fd.closeSync();
  });

  it('has no power state either where only that register does not answer', async () => {
    const bytes = put(new Uint8Array(256), {
      u16: { 6: 0x10, 0x40: 1 },
      u32: { 0x44: 0xffff_ffff },
    });
    bytes[0x34] = 0x40;
    const { pci, owner } = configSpace(bytes);
    await failure(() => pci.powerState(), 'EIO');
    owner.fd.closeSync();
  });

  it('has none of its memory mapped: where the MSI-X table is, is not known', async () => {
    const { owner } = fileRegion(ones, config);
    owner.config = regionInfo(config);
    const bar = Region.of(owner, regionInfo({ size: 0x1000, offset: 0n }));
    await failure(() => bar.map(), 'EIO');
    owner.fd.closeSync();
  });

  it('gets no ones written into its Command register after a reset', async () => {
    const { region, owner, path } = fileRegion(ones, config);
    const device = { bus: 'pci', address: '0000:3b:00.0', sysfsPath: '/sys/none' };
    const location = { path: '/dev/vfio/devices/vfio0', device };
    const bound = { fd: { native: 1 }, location, devId: 1, iommufd: {} } as unknown as BoundCdev;
    const resettable = new DeviceState(bound, new Interrupts(bound, () => []), new PeerMaps(), () => region); // prettier-ignore
    const wakes = (): number => {
      region.write(0, new Uint8Array(256));
      return 0;
    };
    await withBinding({ resetSync: wakes }, () => {
      runSync(resetDevice(resettable));
      return Promise.resolve();
    });
    assert.deepEqual([...readFileSync(path).subarray(0x2000, 0x2008)], [0, 0, 0, 0, 0, 0, 0, 0]);
    owner.fd.closeSync();
  });
});
