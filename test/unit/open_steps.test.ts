import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { describe, it } from 'mocha';
import { binding, replaceBinding } from '../../lib/core/binding.ts';
import { type OpenStep, VfioDevice } from '../../lib/index.ts';
import { fakeIoctls } from '../support/fake_kernel.ts';
import { fakeAddress, fakeNode, fakeVfio, putNode } from '../support/fake_vfio.ts';

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
