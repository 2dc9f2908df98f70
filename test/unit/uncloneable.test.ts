import assert from 'node:assert/strict';
import { once } from 'node:events';
import * as threads from 'node:worker_threads';
import { describe, it } from 'mocha';
import { fakeNode, fakeVfio, putNode } from '../support/fake_vfio.ts';
import { closeHandles, openHandles } from '../support/matrix_handles.ts';
import { skip } from '../support/skip.ts';

/** These hold nothing of the kernel's. */
const plain = new Set(['DirtyPages', 'IovaAllocator', 'VfioError']);

/** Node 20 cannot be told what is not to be cloned. */
const canRefuse = 'markAsUncloneable' in threads;

describe('a handle that is posted to another thread', () => {
  it('is refused, of every class', async function () {
    if (!canRefuse) skip(this, 'Node 22.10');
    const roots = fakeVfio('1:5');
    putNode(roots, fakeNode, '/dev/zero');
    putNode(roots, 'iommu', '/dev/full');
    const handles = await openHandles(roots);
    const { port1, port2 } = new threads.MessageChannel();
    try {
      for (const [name, handle] of Object.entries<unknown>({ ...handles })) {
        if (plain.has(name)) continue;
        const refused = { name: 'DataCloneError' };
        assert.throws(() => structuredClone(handle), refused, name);
        assert.throws(
          () => {
            port1.postMessage({ handle });
          },
          refused,
          name,
        );
      }
      assert.deepEqual(threads.receiveMessageOnPort(port2), undefined);
      assert.deepEqual(structuredClone(handles.Iommufd.share()).kind, 'iommufd');
    } finally {
      port1.close();
      closeHandles(handles);
    }
    await Promise.all([
      once(handles.MigrationSink, 'close'),
      once(handles.MigrationSource, 'close'),
    ]);
  });
});
