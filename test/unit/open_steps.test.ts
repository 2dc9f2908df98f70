import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { binding, replaceBinding } from '../../lib/core/binding.ts';
import { type OpenStep, VfioDevice } from '../../lib/index.ts';
import { fakeIoctls } from '../support/fake_kernel.ts';
import { vfioFailure } from '../support/errors.ts';
import { withBinding } from '../support/fake_binding.ts';
import { fakeAddress, fakeNode, fakeVfio, putNode } from '../support/fake_vfio.ts';
import { assertNoMore, libraryFds } from '../support/proc.ts';

describe('the channel vfio:open', () => {
  it('tells the steps of an opening in their order, to who listens', async () => {
    const roots = fakeVfio('1:7');
    putNode(roots, fakeNode, '/dev/full');
    putNode(roots, 'iommu', '/dev/full');
    const undo = replaceBinding({ ...binding(), ...fakeIoctls });
    const told: OpenStep[] = [];
    const hear = (message: unknown): void => void told.push(message as OpenStep);
    const options = { ...roots, requestEvents: false };
    try {
      subscribe('vfio:open', hear);
      VfioDevice.openSync(fakeAddress, options).closeSync();
      const device = await VfioDevice.open(fakeAddress, options);
      unsubscribe('vfio:open', hear);
      await device.close();
      VfioDevice.openSync(fakeAddress, options).closeSync();
    } finally {
      undo();
    }
    const steps = ['lookup', 'open', 'open', 'bind', 'info'];
    assert.deepEqual(
      told,
      [...steps, ...steps].map((step) => ({ step, device: fakeAddress })),
    );
  });
});

describe('a device that goes before the kernel has said what it is', () => {
  for (const form of ['open', 'openSync'] as const) {
    it(`is closed again, and the error says that it is gone (${form})`, async () => {
      const ENODEV = -19;
      const roots = fakeVfio('1:7');
      putNode(roots, fakeNode, '/dev/full');
      putNode(roots, 'iommu', '/dev/full');
      const getDeviceInfo = (): number => {
        rmSync(join(roots.sysfsRoot, 'bus/pci/devices', fakeAddress));
        return ENODEV;
      };
      const before = libraryFds();
      await withBinding({ ...fakeIoctls, getDeviceInfo }, async () => {
        const error = await vfioFailure(async () => VfioDevice[form](fakeAddress, roots), 'ENODEV');
        assert.deepEqual([error.request, error.reason], ['VFIO_DEVICE_GET_INFO', 'gone']);
      });
      assertNoMore(libraryFds(), before);
    });
  }
});
