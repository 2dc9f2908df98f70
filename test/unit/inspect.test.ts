import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { once } from 'node:events';
import { inspect } from 'node:util';
import { Iommufd, openCdevSync } from '../../lib/index.ts';
import { fakeAddress as address, fakeNode, fakeVfio, putNode } from '../support/fake_vfio.ts';
import { withBinding } from '../support/fake_binding.ts';
import { fakeIoctls } from '../support/fake_kernel.ts';
import { closeHandles, openHandles } from '../support/matrix_handles.ts';
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

  it('shows of every other what it belongs to, and touches no device', async () => {
    const roots = fakeVfio('1:5');
    putNode(roots, fakeNode, '/dev/zero');
    putNode(roots, 'iommu', '/dev/full');
    const calls: string[] = [];
    const handles = await withBinding(countCalls(calls), () => openHandles(roots));
    const registers = handles.MappedRegion.registers({
      status: { offset: 0x20, access: 'r', fields: { busy: 1, irq: 0x80 } },
    });
    calls.length = 0;
    const part = (state: string): string => `{ address: '${address}', state: '${state}' }`;
    const texts = (state: string): Record<string, string> => ({
      Container: `{ path: '${roots.devRoot}/vfio/vfio', state: '${state}' }`,
      ContainerSpace: `{ container: '${roots.devRoot}/vfio/vfio', state: '${state}' }`,
      DirtyPages: '{ iova: 1048576n, pageSize: 4096n, pages: 64 }',
      Display: part(state),
      DmaBlock: `{ iova: 1048576n, size: 64, state: '${state === 'open' ? 'mapped' : 'unmapped'}' }`,
      DmaBuffer: `{ size: 4096, mappings: ${state === 'open' ? 1 : 0}, state: '${state === 'open' ? 'open' : 'disposed'}' }`,
      DmaLogging: part(state),
      DmaMapping: `{ iova: 1048576n, size: 4096, state: '${state === 'open' ? 'mapped' : 'unmapped'}' }`,
      DmaPoll: `{ head: 0, first: 0, spin: 0, state: '${state === 'open' ? 'open' : 'disposed'}' }`,
      DmaPool: `{ chunkSize: 65536, chunks: ${state === 'open' ? 1 : 0} }`,
      Dmabuf: `{ state: '${state}' }`,
      FaultQueue: `{ id: 0, state: '${state}' }`,
      FdChannel: `{ path: 'socketpair', state: '${state}' }`,
      FdListener: `{ path: '${roots.devRoot}/socket', state: '${state}' }`,
      FdMessage: '{ bytes: 1, fds: 1 }',
      FileDescriptor: `{ path: '${roots.devRoot}/iommu', state: '${state}' }`,
      Features: part(state),
      HwQueue: `{ index: 0, id: 12, iommufd: '${roots.devRoot}/iommu', state: '${state}' }`,
      NestedHwpt: `{ of: 10, id: 9, iommufd: '${roots.devRoot}/iommu', state: '${state}' }`,
      Vdevice: `{ virtId: 1n, id: 11, iommufd: '${roots.devRoot}/iommu', state: '${state}' }`,
      VeventQueue: `{ next: 0, id: 0, state: '${state}' }`,
      Viommu: `{ of: 9, id: 10, iommufd: '${roots.devRoot}/iommu', state: '${state}' }`,
      Hwpt: `{ id: 9, iommufd: '${roots.devRoot}/iommu', state: '${state}' }`,
      Interrupt: `{ address: '${address}', name: 'intx', count: 1, vectors: ${state === 'open' ? 1 : 0}, state: '${state === 'open' ? 'enabled' : 'disabled'}' }`,
      InterruptVector: `{ interrupt: 'intx', index: 0, listeners: 0, state: '${state}' }`,
      IovaAllocator: '{ free: 1, used: 0 }',
      KvmVfio: `{ state: '${state}' }`,
      LowPower: part(state),
      MappedRegion: `{ address: '${address}', name: 'bar0', offset: 0, size: 4096, state: '${state}' }`,
      Migration: part(state),
      MigrationSink: `{ state: '${state}' }`,
      MigrationSource: `{ state: '${state}' }`,
      PciFunction: part(state),
      PeerMapping: `{ address: '${address}', name: 'bar0', iova: 1048576n, size: 4096, state: '${state === 'open' ? 'mapped' : 'unmapped'}' }`,
      PreparedAccesses: `{ accesses: [ { op: 'read', offset: 0, width: 32, value: 0 } ], state: '${state}' }`,
      Region: `{ address: '${address}', name: 'bar0', size: 4096, flags: [ 'read', 'write', 'mmap', 'caps' ], state: '${state}' }`,
      SharedVector: `{ interrupt: 'intx', index: 0, listeners: 0, state: '${state}' }`,
      Register: `{ offset: 32, width: 32, access: 'r', fields: [ 'busy', 'irq' ] }`,
    });
    // With those that the first test has.
    const shownAlready = ['Iommufd', 'Ioas', 'VfioCdev', 'VfioDevice', 'VfioError'];
    const expected = [...Object.keys(handles), 'Register'];
    assert.deepEqual(expected.sort(), [...shownAlready, ...Object.keys(texts('open'))].sort());
    const all = { ...handles, Register: registers.status };
    const check = (state: string): void => {
      for (const [name, text] of Object.entries(texts(state))) {
        const handle: object = all[name as keyof typeof all];
        assert.equal(inspect(handle, { breakLength: Infinity }), `${name} ${text}`);
        assert.ok(inspect(handle, { depth: 9, showHidden: true, getters: true }).length < 250);
      }
    };
    check('open');
    assert.deepEqual(calls, []);
    closeHandles(handles);
    await Promise.all([
      once(handles.MigrationSink, 'close'),
      once(handles.MigrationSource, 'close'),
    ]);
    calls.length = 0;
    check('closed');
    assert.deepEqual(calls, []);
  });

  it('shows less of a handle that is deep in another object, and nothing of a prototype', async () => {
    const roots = fakeVfio();
    putNode(roots, 'iommu', '/dev/full');
    using iommufd = Iommufd.open(roots);
    assert.equal(inspect({ a: { b: { iommufd } } }), '{ a: { b: { iommufd: [Iommufd] } } }');
    assert.equal(await shown(Iommufd.prototype), 'Closable {}');
  });
});
