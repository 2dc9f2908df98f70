import assert from 'node:assert/strict';
import { it } from 'mocha';
import { Container, DmaBuffer, VfioDevice } from '../../lib/index.ts';
import { describeLab } from '../support/devices.ts';
import { failure } from '../support/errors.ts';

// VFIO_IOMMU_DIRTY_PAGES: type1 knows which pages a mediated device pinned, and of devices with an
// IOMMU nothing, so that all that is mapped counts as written.

const page = 4096;

describeLab('dirty pages of a container', ['edu', 'mtty'], (lab) => {
  it('are all that is mapped, of a device that the kernel cannot watch', async () => {
    await using container = Container.open();
    await using device = await VfioDevice.open(lab.edu, { backend: 'group', container });
    assert.equal(device.backend.kind, 'group');
    await using space = container.createIoas();
    await using buffer = await DmaBuffer.allocate(100 * page);
    const at = 0x100_0000n;
    const mapping = await space.map(buffer, { iova: at });
    // A gap, then another, which begins with a word of the bitmap.
    await space.map(buffer, { iova: at + 128n * 4096n, length: 3 * page });
    const range = { iova: at, length: 200n * 4096n };
    await failure(() => space.readDirty(range), 'EINVAL');
    await failure(() => space.unmapDirty(at, BigInt(mapping.size)), 'EINVAL');
    await space.setDirtyTracking(true);
    space.setDirtyTrackingSync(true);
    const pages = [...Array(100).keys(), 128, 129, 130];
    const numbers = (dirty: Iterable<bigint>): number[] =>
      [...dirty].map((iova) => Number(iova - at) / page);
    assert.deepEqual(numbers(await space.readDirty(range)), pages);
    assert.deepEqual(numbers(space.readDirtySync(range)), pages, 'again, since it may go on');
    await failure(() => space.readDirty({ ...range, length: 50n * 4096n }), 'EINVAL');
    await failure(() => space.readDirty({ ...range, iova: at + 1n }), 'ERR_OUT_OF_RANGE');
    await failure(() => space.readDirty({ ...range, length: 0n }), 'ERR_OUT_OF_RANGE');

    const { bytes, dirty } = await space.unmapDirty(at, BigInt(mapping.size));
    assert.equal(bytes, 100n * 4096n);
    assert.deepEqual(numbers(dirty), [...Array(100).keys()]);
    assert.equal(mapping.mapped, false);
    assert.deepEqual(numbers(await space.readDirty(range)), [128, 129, 130]);
    await failure(() => space.unmapDirty(at, BigInt(mapping.size)), 'ENOENT');
    const last = space.unmapDirtySync(at, 200n * 4096n);
    assert.deepEqual([last.bytes, numbers(last.dirty)], [3n * 4096n, [128, 129, 130]]);
    await space.setDirtyTracking(false);
    await failure(() => space.readDirty(range), 'EINVAL');
  });

  it('are at least what is mapped, where a mapping begins within a word of the bitmap', async () => {
    await using container = Container.open();
    await using _device = await VfioDevice.open(lab.edu, { backend: 'group', container });
    await using space = container.createIoas();
    await using buffer = await DmaBuffer.allocate(3 * page);
    const at = 0x100_0000n;
    await space.map(buffer, { iova: at });
    await space.map(buffer, { iova: at + 132n * 4096n });
    await space.setDirtyTracking(true);
    const mapped = [0, 1, 2, 132, 133, 134];
    for (let time = 0; time < 3; time++) {
      const dirty = await space.readDirty({ iova: at, length: 200n * 4096n });
      const numbers = new Set([...dirty].map((iova) => Number(iova - at) / page));
      // type1 clears less than it has shifted, and tells of pages behind the second as well.
      assert.deepEqual(
        mapped.filter((number) => !numbers.has(number)),
        [],
      );
    }
  });

  it('are none of a mediated device that pinned none', async () => {
    await using container = Container.open();
    await using _device = await VfioDevice.open(lab.mtty, { backend: 'group', container });
    await using space = container.createIoas();
    await using buffer = await DmaBuffer.allocate(8 * page);
    await using mapping = await space.map(buffer);
    await space.setDirtyTracking(true);
    const range = { iova: mapping.iova, length: 8n * 4096n };
    assert.deepEqual([...(await space.readDirty(range))], []);
    const { bytes, dirty } = await space.unmapDirty(range.iova, range.length);
    assert.deepEqual([bytes, [...dirty]], [8n * 4096n, []]);
    assert.equal(dirty.bitmap.length, 1);
  });

  it('are told where the container says that it can', async () => {
    await using container = Container.open();
    await using _device = await VfioDevice.open(lab.edu, { backend: 'group', container });
    // VFIO_TYPE1v2_IOMMU, VFIO_UNMAP_ALL, VFIO_SPAPR_TCE_IOMMU
    assert.deepEqual(
      [3, 9, 2].map((extension) => container.checkExtension(extension)),
      [1, 1, 0],
    );
  });
});
