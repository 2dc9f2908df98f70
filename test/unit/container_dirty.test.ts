import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { type Answer, type Binding, type NativeFd } from '../../lib/core/binding.ts';
import { OwnedFd } from '../../lib/core/owned_fd.ts';
import { Container } from '../../lib/backend/container.ts';
import type { ContainerSpace } from '../../lib/index.ts';
import { failure } from '../support/errors.ts';
import { withBinding } from '../support/fake_binding.ts';
import { put } from '../support/kernel_bytes.ts';

// What a container's kernel gets and answers; test/device/container_dirty.test.ts has a real one.

describe('the dirty pages of a container', () => {
  const calls: unknown[][] = [];
  /** struct vfio_iommu_type1_info with the capability of migration: pages of 8 KiB. */
  const containerInfo = (_fd: NativeFd, words: Uint32Array): Answer => {
    const bytes = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
    put(bytes, {
      u32: { 0: 56, 4: 3, 16: 24, 28: 0 },
      u16: { 24: 2, 26: 1 },
      u64: { 8: 0x3000n, 40: 0x2000n, 48: 0x1000_0000n },
    });
    return 0;
  };
  const noting = (name: string, answer: unknown): Record<string, unknown> => {
    const note = (_fd: NativeFd, ...args: unknown[]): unknown => {
      calls.push([name, ...args]);
      return answer;
    };
    return {
      [name]: (fd: NativeFd, ...args: unknown[]) => Promise.resolve(note(fd, ...args)),
      [`${name}Sync`]: note,
    };
  };
  const fakes = {
    containerInfo,
    ...noting('containerTrackDirty', 0),
    ...noting('containerDirtyBitmap', BigUint64Array.of(5n, 1n)),
    ...noting('containerUnmapDirty', BigUint64Array.of(0x4000n, 3n)),
  } as Partial<Binding>;

  async function made(
    body: (space: ContainerSpace) => Promise<void>,
    more: Partial<Binding> = {},
  ): Promise<void> {
    calls.length = 0;
    const fd = OwnedFd.open('/dev/null', 'the fake container');
    await withBinding({ ...fakes, ...more }, () => body(Container.adopt(fd).createIoas()));
    fd.closeSync();
  }

  it('are told by the page that the kernel tracks', () =>
    made(async (space) => {
      await space.setDirtyTracking(true);
      space.setDirtyTrackingSync(false);
      const range = { iova: 0x10000n, length: 65n * 0x2000n };
      const dirty = await space.readDirty(range);
      assert.deepEqual([...dirty], [0x10000n, 0x14000n, 0x10000n + 64n * 0x2000n]);
      assert.equal(dirty.pageSize, 0x2000n);
      const { bytes, dirty: last } = space.unmapDirtySync(0x20000n, 0x4000n);
      assert.deepEqual([bytes, [...last]], [0x4000n, [0x20000n, 0x22000n]]);
      assert.deepEqual(calls, [
        ['containerTrackDirty', 1],
        ['containerTrackDirty', 2],
        ['containerDirtyBitmap', 0x10000n, 65n * 0x2000n, 0x2000n, 2],
        ['containerUnmapDirty', 0x20000n, 0x4000n, 0x2000n, 1],
      ]);
    }));

  it('are not asked for with what is no range of such pages', () =>
    made(async (space) => {
      for (const range of [
        { iova: 0n, length: 0n },
        { iova: 0x1000n, length: 0x2000n },
        { iova: 0n, length: 0x3000n },
        { iova: 0n, length: 2n ** 45n },
        { iova: 2n ** 64n - 0x2000n, length: 0x4000n },
      ]) {
        await failure(() => space.readDirty(range), 'ERR_OUT_OF_RANGE');
        await failure(() => space.unmapDirty(range.iova, range.length), 'ERR_OUT_OF_RANGE');
      }
      await failure(() => space.readDirty({ iova: 0n } as never), 'ERR_INVALID_ARG_TYPE');
      assert.deepEqual(calls, []);
    }));

  it('are refused by the kernel with what it says', () =>
    made(
      async (space) => {
        await failure(() => space.setDirtyTracking(true), 'ENOTTY');
        await failure(() => space.readDirty({ iova: 0n, length: 0x2000n }), 'EINVAL');
        await failure(() => space.unmapDirtySync(0n, 0x2000n), 'EINVAL');
        await space.close();
        await failure(() => space.setDirtyTracking(true), 'ERR_VFIO_CLOSED');
        await failure(() => space.readDirtySync({ iova: 0n, length: 0x2000n }), 'ERR_VFIO_CLOSED');
        await failure(() => space.unmapDirty(0n, 0x2000n), 'ERR_VFIO_CLOSED');
      },
      {
        ...noting('containerTrackDirty', -25),
        ...noting('containerDirtyBitmap', -22),
        ...noting('containerUnmapDirty', -22),
      },
    ));
});
