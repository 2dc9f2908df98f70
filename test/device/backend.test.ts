import assert from 'node:assert/strict';
import { it } from 'mocha';
import { Container, DmaBuffer, VfioDevice, VfioError } from '../../lib/index.ts';
import { describeLab } from '../support/devices.ts';
import { failure } from '../support/errors.ts';

describeLab('A device of the group backend', ['edu', 'nvme0'], ({ edu, nvme0 }) => {
  it('opens in a container of its own', async () => {
    await using device = await VfioDevice.open(edu, { backend: 'group' });
    assert.deepEqual(device.backend, { kind: 'group', isolated: true, why: 'asked for' });
    assert.equal(device.region('bar0').read32(0), 0x010000ed);
    await using space = device.createIoas();
    assert.equal(await device.attach(space), 0);
    await using buffer = DmaBuffer.allocateSync(8192);
    const mapping = await space.map(buffer);
    assert.deepEqual([mapping.iova, space.iovaAlignment], [4096n, 4096n]);
    await mapping.unmap();
    assert.equal(await space.unmapAll(), 0n);
  });

  it('shares a container with others', async () => {
    await using container = Container.open();
    const devices = await Promise.all([
      VfioDevice.open(edu, { container }),
      VfioDevice.open(nvme0, { container }),
    ]);
    assert.equal(devices[0].container, devices[1].container);
    for (const device of devices) await device.close();
    await using space = container.createIoas();
    const error = await failure(() => space.iovaRanges(), 'EINVAL');
    assert.ok(error instanceof VfioError);
    assert.equal(error.reason, 'container-empty');
  });

  it('opens in an iommufd that serves as container', async () => {
    await using device = await VfioDevice.open(edu, { backend: 'compat' });
    assert.equal(device.region('bar0').read32(0), 0x010000ed);
    await using ioas = device.createIoas();
    await using buffer = DmaBuffer.allocateSync(8192);
    await using mapping = await ioas.map(buffer);
    assert.ok(mapping.mapped);
    await device.attach(ioas);
  });
});
