import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { afterEach, beforeEach, describe, it } from 'mocha';
import type { Roots } from '../../lib/core/location.ts';
import type { VfioFacts } from '../../lib/core/reasons.ts';
import { closeDevices, DmaBuffer, IovaAllocator, openDevices } from '../../lib/index.ts';
import { failure, vfioFailure } from '../support/errors.ts';
import { withBinding } from '../support/fake_binding.ts';
import { fakeIoctls } from '../support/fake_kernel.ts';
import { fakeAddress, fakeNode, fakeVfio, putNode } from '../support/fake_vfio.ts';
import { fileRegion } from '../support/file_region.ts';
import { closeHandles, type Handles, openHandles } from '../support/matrix_handles.ts';
import { put } from '../support/tree.ts';

const [EBUSY, EINVAL, EIO, EOPNOTSUPP] = [-16, -22, -5, -95];

/** A device whose nodes are /dev/zero and the like. */
function fakeRoots(): Roots {
  const roots = fakeVfio('1:5');
  putNode(roots, fakeNode, '/dev/zero');
  putNode(roots, 'iommu', '/dev/null');
  return roots;
}

describe('what a refusal says', () => {
  let handles: Handles;
  let roots: Roots;

  beforeEach(async () => {
    roots = fakeRoots();
    handles = await openHandles(roots);
  });
  afterEach(() => {
    closeHandles(handles);
  });

  const busy = { destroy: () => Promise.resolve(EBUSY), destroySync: () => EBUSY };

  for (const way of ['close', 'closeSync'] as const) {
    it(`names what is attached to an address space and to a page table (${way})`, async () => {
      const { Ioas: ioas, Hwpt: hwpt, VfioDevice: device } = handles;
      await withBinding({ ...fakeIoctls, ...busy }, async () => {
        await device.attach(ioas);
        const first = await vfioFailure(() => ioas[way](), 'EBUSY');
        const pageTables = [hwpt.id];
        const what = `IOAS ${ioas.id}`;
        assert.deepEqual(first.facts, { what, devices: [fakeAddress], pageTables, objects: [] });
        assert.deepEqual([first.reason, first.certainty], ['still-attached', 'certain']);
        assert.match(
          first.message,
          /IOMMU_DESTROY.*is in use: 0000:3b:00.0 attached to it, page tab/,
        );
        const none = await vfioFailure(() => hwpt[way](), 'EBUSY');
        assert.deepEqual(none.facts, {
          what: `HWPT ${hwpt.id}`,
          devices: [],
          pageTables: [],
          objects: [],
        });
        assert.match(none.message, /likely HWPT \d+ is in use: by another thread or process/);
        await device.attach(hwpt);
        const second = await vfioFailure(() => hwpt[way](), 'EBUSY');
        assert.deepEqual(second.facts, {
          what: `HWPT ${hwpt.id}`,
          devices: [fakeAddress],
          pageTables: [],
          objects: [],
        });
        await device.detach();
        const left = await vfioFailure(() => ioas[way](), 'EBUSY');
        assert.deepEqual(left.facts, { what, devices: [], pageTables, objects: [] });
      });
    });
  }

  it('names who else has the line of INTx', async () => {
    const device = `devices/pci0000:3a/${fakeAddress}`;
    put(roots.sysfsRoot, {
      [`${device}/irq`]: '11\n',
      'kernel/irq/11/actions': 'ahci[0000:00:1f.2],vfio-intx(0000:00:05.0)\n',
      'module/vfio_pci/parameters/nointxmask': 'Y\n',
    });
    const intx = handles.Interrupt;
    assert.equal(intx.name, 'intx');
    const tie = { setIrqsEventfd: () => Promise.resolve(EBUSY), setIrqsEventfdSync: () => EBUSY };
    await withBinding({ ...fakeIoctls, ...tie }, async () => {
      await intx.disable();
      for (const enable of [() => intx.enable(), () => intx.enableSync()]) {
        const error = await vfioFailure(enable, 'EBUSY');
        assert.deepEqual([error.reason, error.certainty], ['intx-line-taken', 'certain']);
        assert.deepEqual(error.facts, {
          address: fakeAddress,
          line: 11,
          others: ['ahci[0000:00:1f.2]', 'vfio-intx(0000:00:05.0)'],
          nointxmask: true,
        });
        assert.match(
          error.message,
          /SET_IRQS.*line 11 has another handler \(ahci\[0000:00:1f\.2\], vf/,
        );
        assert.match(error.hint ?? '', /msix or msi.*nointxmask=1/);
      }
      rmSync(`${roots.sysfsRoot}/module`, { recursive: true });
      const hidden = await vfioFailure(() => intx.enableSync(), 'EBUSY');
      assert.equal((hidden.facts as VfioFacts['intx-line-taken']).nointxmask, null);
      assert.doesNotMatch(hidden.hint ?? '', /nointxmask/);
      // What failed is nobody's, and can be enabled.
      await withBinding(fakeIoctls, () => intx.enable());
    });
  });

  it('says that the runtime makes no ArrayBuffer over other memory', async () => {
    const fakes = { memoryBuffer: () => EOPNOTSUPP, exposeMapping: () => EOPNOTSUPP };
    await using buffer = await DmaBuffer.allocate(4096);
    await withBinding(fakes, async () => {
      const error = await vfioFailure(() => buffer.buffer, 'ENOTSUP');
      assert.equal(error.reason, 'no-external-buffers');
      assert.match(
        error.message,
        /^ENOTSUP: operation not supported, .*: this runtime .* makes no Arr/,
      );
      using file = fileRegion(new Uint8Array(8));
      using mapped = file.region.map();
      const exposed = await vfioFailure(() => mapped.unsafeArrayBuffer(), 'ENOTSUP');
      assert.deepEqual([exposed.reason, exposed.region], ['no-external-buffers', 'bar0']);
    });
  });

  it('names the windows of VGA', async () => {
    using file = fileRegion(new Uint8Array(8), { name: 'vga', size: 0xc0000 });
    const fakes = { pread: () => EINVAL, pwriteSync: () => EINVAL };
    await withBinding(fakes, async () => {
      for (const [offset, length] of [
        [0, 1],
        [0x3bb, 2],
        [0x9fffe, 4],
      ] as const) {
        for (const use of [
          () => file.region.read(offset, length),
          () => {
            file.region.write(offset, new Uint8Array(length));
          },
        ]) {
          const error = await vfioFailure(use, 'EINVAL');
          assert.deepEqual([error.reason, error.facts], ['vga-window', { offset, length }]);
          assert.equal(error.region, `vga+0x${offset.toString(16)}`);
          assert.match(error.message, /0x3b0-0x3bb, 0x3c0-0x3df and 0xa0000-0xbffff/);
        }
      }
      const within = await vfioFailure(() => file.region.read(0x3c0, 1), 'EINVAL');
      assert.equal(within.reason, undefined);
    });
  });

  it('refuses addresses that end past the last one', async () => {
    const { Ioas: ioas, ContainerSpace: space, Hwpt: hwpt, DmaBuffer: buffer } = handles;
    const iova = 2n ** 64n - 2048n;
    const uses: Record<string, () => unknown> = {
      map: () => ioas.map(buffer, { iova }),
      mapSync: () => ioas.mapSync(buffer, { iova }),
      copy: () => ioas.copy(iova, 4096),
      unmap: () => ioas.unmap(iova, 4096n),
      unmapSync: () => ioas.unmapSync(iova, 4096n),
      unsafeMapAddress: () => ioas.unsafeMapAddress(iova, 4096),
      containerUnmap: () => space.unmap(iova, 4096n),
      containerMapAddress: () => space.unsafeMapAddress(iova, 4096),
      readDirty: () => hwpt.readDirty({ iova: 2n ** 64n - 4096n, length: 8192n }),
      reserve: () => {
        new IovaAllocator([{ start: 0n, last: 4095n }]).reserve(iova, 4096);
      },
    };
    await withBinding(fakeIoctls, async () => {
      for (const [name, use] of Object.entries(uses)) {
        const error = await failure(use, 'ERR_OUT_OF_RANGE');
        assert.match(error.message, /end at 2n \*\* 64n/, name);
      }
      // Up to the last one is right.
      await ioas.unmap(0n, 2n ** 64n - 1n).catch((error: unknown) => {
        assert.ok(!(error instanceof RangeError));
      });
    });
  });
});

describe('an error of many devices', () => {
  it('names each and says why', async () => {
    const roots = fakeRoots();
    await withBinding({ ...fakeIoctls, bind: () => Promise.resolve(EIO) }, async () => {
      const options = { ...roots, timeout: 0, backend: 'cdev' } as const;
      const opening = openDevices([fakeAddress, '0000:00:1f.7'], options);
      await assert.rejects(opening, (error: AggregateError) => {
        assert.equal(error.errors.length, 2);
        assert.match(error.message, /^2 of 2 devices did not open:\n/);
        assert.match(error.message, /\n {2}0000:3b:00\.0: EIO: .*BIND_IOMMUFD/);
        assert.match(error.message, /\n {2}0000:00:1f\.7: there is no device/);
        return true;
      });
    });
    await withBinding(fakeIoctls, async () => {
      const devices = await openDevices([fakeAddress], roots);
      const failing = { close: () => Promise.resolve(EIO) };
      await withBinding({ ...fakeIoctls, ...failing }, async () => {
        const message = /^1 of 1 device did not close:\n {2}0000:3b:00\.0: EIO: /;
        await assert.rejects(closeDevices(devices), { name: 'AggregateError', message });
      });
    });
  });
});
