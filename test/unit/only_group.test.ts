import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { Binding } from '../../lib/core/binding.ts';
import type { Roots } from '../../lib/core/location.ts';
import { openCdev, VfioDevice } from '../../lib/index.ts';
import { failure, vfioFailure } from '../support/errors.ts';
import { withBinding } from '../support/fake_binding.ts';
import { fakeGroupCalls, fakeIoctls } from '../support/fake_kernel.ts';
import { fakeAddress, fakeNode, fakeVfio, putNode } from '../support/fake_vfio.ts';
import { libraryFds } from '../support/proc.ts';
import { put } from '../support/tree.ts';

/** A kernel that lets the device be opened by its group. */
const fakes: Partial<Binding> = {
  ...fakeIoctls,
  ...fakeGroupCalls,
};

/** The device's group is 7, whose node is /dev/zero's. */
function roots(): Roots {
  const all = fakeVfio();
  put(all.sysfsRoot, {
    [`bus/pci/devices/${fakeAddress}/iommu_group`]: { pointsTo: '../../../kernel/iommu_groups/7' },
    'class/vfio/7/dev': '1:5\n',
    'class/vfio-dev/vfio7/dev': '1:3\n',
  });
  return all;
}

describe('a device of which only the group has a node', () => {
  it('is opened by it, and says so', async () => {
    const all = roots();
    putNode(all, 'vfio/7', '/dev/zero');
    const before = libraryFds();
    await withBinding(fakes, async () => {
      for (const open of [
        () => VfioDevice.open(fakeAddress, { ...all, timeout: 20, requestEvents: false }),
        () => Promise.resolve(VfioDevice.openSync(fakeAddress, { ...all, requestEvents: false })),
      ]) {
        await using opened = await open();
        const why = 'its cdev has no node here, and its group has one';
        assert.deepEqual(opened.backend, { kind: 'group', isolated: true, why });
      }
      await failure(() => VfioDevice.open(fakeAddress, { ...all, backend: 'cdev', timeout: 0 }), 'ENOENT'); // prettier-ignore
      await failure(() => openCdev(fakeAddress, { ...all, timeout: 0 }), 'ENOENT');
    });
    assert.deepEqual(libraryFds(), before);
  });

  it('is opened by its cdev where both have one', async () => {
    const all = roots();
    putNode(all, 'vfio/7', '/dev/zero');
    putNode(all, fakeNode, '/dev/null');
    putNode(all, 'iommu', '/dev/zero');
    await withBinding(fakes, async () => {
      await using opened = await VfioDevice.open(fakeAddress, { ...all, requestEvents: false });
      assert.equal(opened.backend.kind, 'cdev');
    });
  });

  it('has no more to say where neither has one', async () => {
    const all = roots();
    const error = await vfioFailure(() => VfioDevice.openSync(fakeAddress, all), 'ENOENT');
    assert.deepEqual([error.path, error.reason], [`${all.devRoot}/${fakeNode}`, 'node-absent']);
  });
});
