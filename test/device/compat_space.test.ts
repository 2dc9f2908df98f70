import assert from 'node:assert/strict';
import { it } from 'mocha';
import { DmaBuffer, Iommufd, VfioDevice } from '../../lib/index.ts';
import { backend } from '../support/backend.ts';
import { describeLab } from '../support/devices.ts';
import { failure } from '../support/errors.ts';

const describeCompat: typeof describeLab = backend === 'compat' ? describeLab : () => undefined;

describeCompat('the address space of groups with an iommufd', ['edu'], (lab) => {
  it('is the one that the program says', async () => {
    await using iommufd = Iommufd.open();
    await using own = iommufd.createIoas();
    iommufd.setCompatIoas(own);
    const { id } = own;
    await using device = await VfioDevice.open(lab.edu, { backend: 'compat', iommufd });
    const space = device.createIoas();
    assert.ok('id' in space && space.id === id);
    await using buffer = await DmaBuffer.allocate(4096);
    await using mapping = await own.map(buffer);
    assert.equal(await device.attach(own), id);
    await mapping.unmap();
    await space.close();
    await device.close();
    // Groups that come later get one that the kernel makes.
    iommufd.setCompatIoas(undefined);
    await using again = await VfioDevice.open(lab.edu, { backend: 'compat', iommufd });
    const other = again.createIoas();
    assert.ok('id' in other && other.id !== id);
    await other.close();
    await again.close();
    await using foreign = Iommufd.open();
    await using stranger = foreign.createIoas();
    await failure(() => {
      iommufd.setCompatIoas(stranger);
    }, 'ENOENT');
  });
});
