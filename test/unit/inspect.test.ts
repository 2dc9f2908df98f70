import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { inspect } from 'node:util';
import { Iommufd, openCdevSync } from '../../lib/index.ts';
import { fakeAddress as address, fakeNode, fakeVfio, putNode } from '../support/fake_vfio.ts';
import { withBinding } from '../support/fake_binding.ts';
import { fakeIoctls } from '../support/fake_kernel.ts';
import { countCalls } from '../support/traced_binding.ts';

/** What `inspect` shows of a handle, asking the addon nothing. */
async function shown(handle: unknown): Promise<string> {
  const calls: string[] = [];
  const text = await withBinding(countCalls(calls), () => inspect(handle, { breakLength: 200 }));
  assert.deepEqual(calls, []);
  return text;
}

describe('util.inspect', () => {
  it('shows of every handle what it is and whether it is open, and asks the kernel nothing', async () => {
    const roots = fakeVfio();
    putNode(roots, fakeNode, '/dev/null');
    putNode(roots, 'iommu', '/dev/full');
    const path = `${roots.devRoot}/${fakeNode}`;
    const device = (name: string, state: string): string =>
      `${name} { address: '${address}', path: '${path}', state: '${state}' }`;
    const iommu = `${roots.devRoot}/iommu`;
    await withBinding(fakeIoctls, async () => {
      const iommufd = Iommufd.open(roots);
      assert.equal(await shown(iommufd), `Iommufd { path: '${iommu}', state: 'open' }`);
      const ioas = iommufd.createIoas();
      assert.equal(await shown(ioas), `Ioas { id: 2, iommufd: '${iommu}', state: 'open' }`);
      const cdev = openCdevSync(address, roots);
      assert.equal(await shown(cdev), device('VfioCdev', 'open'));
      const bound = await cdev.bind(iommufd);
      assert.equal(await shown(cdev), device('VfioCdev', 'bound'));
      assert.equal(await shown(bound), device('VfioDevice', 'bound'));
      await bound.close();
      assert.equal(await shown(cdev), device('VfioCdev', 'closed'));
      assert.equal(await shown(bound), device('VfioDevice', 'closed'));
      await ioas.close();
      assert.equal(await shown(ioas), `Ioas { id: 2, iommufd: '${iommu}', state: 'closed' }`);
      const other = iommufd.createIoas();
      await iommufd.close();
      assert.equal(await shown(iommufd), `Iommufd { path: '${iommu}', state: 'closed' }`);
      assert.equal(await shown(other), `Ioas { id: 2, iommufd: '${iommu}', state: 'closed' }`);
    });
  });

  it('shows less of a handle that is deep in another object, and nothing of a prototype', async () => {
    const roots = fakeVfio();
    putNode(roots, 'iommu', '/dev/full');
    using iommufd = Iommufd.open(roots);
    assert.equal(inspect({ a: { b: { iommufd } } }), '{ a: { b: { iommufd: [Iommufd] } } }');
    assert.equal(await shown(Iommufd.prototype), '{}');
  });
});
