import assert from 'node:assert/strict';
import { once } from 'node:events';
import { constants as os } from 'node:os';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, it } from 'mocha';
import type { Binding } from '../../lib/core/binding.ts';
import { Iommufd, type PeerMapping, VfioDevice } from '../../lib/index.ts';
import { failure } from '../support/errors.ts';
import { withBinding } from '../support/fake_binding.ts';
import { fakeIoctls } from '../support/fake_kernel.ts';
import { fakeAddress, fakeNode, fakeVfio, putNode } from '../support/fake_vfio.ts';

const { EAGAIN, EBUSY, EIO, EOPNOTSUPP } = os.errno;
const iova = 0x10_0000n;

/** A device whose region is mapped for others, over these answers of the kernel's. */
async function withPeer(
  fakes: Partial<Binding>,
  body: (device: VfioDevice, mapping: PeerMapping) => Promise<void>,
): Promise<void> {
  const roots = fakeVfio('1:5');
  putNode(roots, fakeNode, '/dev/zero');
  putNode(roots, 'iommu', '/dev/full');
  const unmaps = { ioasUnmap: () => Promise.resolve(4096n), ioasUnmapSync: () => 4096n };
  const resets = { reset: () => Promise.resolve(0), resetSync: () => 0 };
  await withBinding({ ...fakeIoctls, ...unmaps, ...resets, ...fakes }, async () => {
    using iommufd = Iommufd.open(roots);
    await using device = await VfioDevice.open(fakeAddress, { ...roots, iommufd });
    const mapping = await iommufd.createIoas().mapRegion(device.region('bar0'));
    await body(device, mapping);
  });
}

describe('a region that is mapped again for other devices', () => {
  it('is not unmapped at the same time: that comes after it', async () => {
    const calls: string[] = [];
    let mapped = (): void => undefined;
    const fakes: Partial<Binding> = {
      ioasMapFile: () => {
        calls.push('map');
        if (calls.length === 1) return Promise.resolve(iova);
        return new Promise((resolve) => {
          mapped = () => {
            resolve(iova);
          };
        });
      },
      ioasUnmap: () => {
        calls.push('unmap');
        return Promise.resolve(4096n);
      },
    };
    await withPeer(fakes, async (device, mapping) => {
      const reset = device.reset();
      while (calls.length < 3) await turn();
      await failure(() => {
        mapping.unmapSync();
      }, 'ERR_VFIO_BUSY');
      await failure(() => {
        mapping.remapSync();
      }, 'ERR_VFIO_BUSY');
      mapping.on('remapped', () => assert.fail('it is unmapped'));
      const unmapped = mapping.unmap();
      assert.equal(mapping.mapped, false);
      assert.deepEqual(calls, ['map', 'unmap', 'map']);
      mapped();
      await Promise.all([reset, unmapped]);
      assert.deepEqual(calls, ['map', 'unmap', 'map', 'unmap']);
    });
  });

  it('is mapped once more where it is taken away meanwhile', async () => {
    let maps = 0;
    let device: VfioDevice | undefined;
    const fakes: Partial<Binding> = {
      ioasMapFile: async () => {
        maps++;
        // /dev/zero stands for the configuration space: what is written to it stays 0.
        if (maps === 2) device?.pci.setMemory(false);
        await turn();
        return iova;
      },
    };
    await withPeer(fakes, async (opened, mapping) => {
      device = opened;
      await opened.reset();
      assert.deepEqual([maps, mapping.revoked], [2, true]);
      await mapping.remap();
      assert.deepEqual([maps, mapping.revoked], [3, false]);
    });
  });

  it('says of a reset and of mapping again that both failed', async () => {
    let maps = 0;
    const fakes: Partial<Binding> = {
      reset: () => Promise.resolve(-EIO),
      ioasMapFile: () => Promise.resolve(maps++ === 0 ? iova : -EBUSY),
    };
    await withPeer(fakes, async (device, mapping) => {
      await assert.rejects(device.reset(), (error: unknown) => {
        assert.ok(error instanceof AggregateError);
        const codes = error.errors.map((one: { code?: string }) => one.code);
        assert.deepEqual(codes, ['EIO', 'EBUSY']);
        return true;
      });
      assert.deepEqual([mapping.mapped, mapping.revoked], [true, true]);
      await mapping.unmap();
      assert.deepEqual([mapping.mapped, mapping.revoked], [false, false]);
    });
  });

  it('tells of what fails when its device woke up by itself', async () => {
    let maps = 0;
    let wakeUp: (count: number) => void = () => undefined;
    const fakes: Partial<Binding> = {
      lowPowerWakeup: () => Promise.resolve(0),
      eventfdWatch: (_event, callback) => {
        wakeUp = callback;
        return 0;
      },
      eventfdRef: () => 0,
      ioasMapFile: () => Promise.resolve(maps++ === 0 ? iova : -EBUSY),
    };
    await withPeer(fakes, async (device, mapping) => {
      await device.feature.lowPower.enter({ wakeup: true });
      assert.equal(mapping.revoked, true);
      const failed = once(mapping, 'error') as Promise<[Error]>;
      wakeUp(1);
      const [error] = await failed;
      assert.equal((error as { code?: string }).code, 'EBUSY');
      await mapping.unmap();
    });
  });

  it('is restored after a reset that did not get the lock, which takes it away as well', async () => {
    let maps = 0;
    const fakes: Partial<Binding> = {
      reset: () => Promise.resolve(-EAGAIN),
      ioasMapFile: () => {
        maps++;
        return Promise.resolve(iova);
      },
    };
    await withPeer(fakes, async (device, mapping) => {
      await failure(() => device.reset(), 'EAGAIN');
      assert.deepEqual([maps, mapping.revoked], [2, false]);
    });
  });

  it('is ERR_VFIO_UNSUPPORTED where the kernel has dma-bufs and does not map them', async () => {
    let answer: bigint | number = iova;
    const fakes: Partial<Binding> = { ioasMapFile: () => Promise.resolve(answer) };
    await withPeer(fakes, async (device, mapping) => {
      answer = -EOPNOTSUPP;
      const error = await failure(() => mapping.remap(), 'ERR_VFIO_UNSUPPORTED');
      assert.match(error.message, new RegExp(`memory of ${device.device.address}: Linux 6\\.19`));
      await mapping.unmap();
    });
  });
});
