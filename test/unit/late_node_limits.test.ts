import assert from 'node:assert/strict';
import { getEventListeners, once } from 'node:events';
import { before, describe, it } from 'mocha';
import { binding, type Binding } from '../../lib/core/binding.ts';
import {
  openCdev,
  openCdevSync,
  type OpenOptions,
  type VfioCdev,
  VfioDevice,
} from '../../lib/index.ts';
import { failure } from '../support/errors.ts';
import { withBinding } from '../support/fake_binding.ts';
import {
  fakeAddress as address,
  fakeNode,
  fakeVfio,
  firstWait,
  putNode,
} from '../support/fake_vfio.ts';
import { assertNoMore, libraryFds } from '../support/proc.ts';
import { tsWorker } from '../support/ts_worker.ts';
import { whileWaiting } from '../support/waiting.ts';

const wait = 60_000;

describe('an abort', () => {
  before(firstWait);

  const reason = new Error('enough');

  it('rejects with the reason, in the wait and before it, and leaves no descriptor', async () => {
    const roots = fakeVfio();
    const fds = libraryFds();
    const open = [
      (options: OpenOptions): Promise<unknown> => openCdev(address, options),
      (options: OpenOptions): Promise<unknown> => VfioDevice.open(address, options),
    ];
    for (const start of open) {
      const abort = new AbortController();
      const options = { ...roots, timeout: wait, signal: abort.signal };
      await whileWaiting(
        () => assert.rejects(start(options), reason),
        () => {
          abort.abort(reason);
        },
      );
      await assert.rejects(start(options), reason);
    }
    assertNoMore(libraryFds(), fds);
  });

  it('in the middle of binding closes what was opened', async () => {
    const roots = fakeVfio();
    putNode(roots, fakeNode, '/dev/null');
    putNode(roots, 'iommu', '/dev/null');
    const abort = new AbortController();
    const fds = libraryFds();
    const bind = (): Promise<number> => {
      abort.abort(reason);
      return Promise.resolve(1);
    };
    await withBinding({ bind }, async () => {
      const opening = VfioDevice.open(address, { ...roots, signal: abort.signal });
      await assert.rejects(opening, reason);
    });
    assertNoMore(libraryFds(), fds);
  });

  it('leaves no listener at the signal', async () => {
    const { signal } = new AbortController();
    await failure(() => openCdev(address, { ...fakeVfio(), timeout: 20, signal }), 'ENOENT');
    assert.deepEqual(getEventListeners(signal, 'abort'), []);
  });
});

describe('the cost of waiting', () => {
  it('is nothing where the first try succeeds', async () => {
    const roots = fakeVfio();
    putNode(roots, fakeNode, '/dev/null');
    const calls: string[] = [];
    const cdevs: VfioCdev[] = [];
    const counting = Object.fromEntries(
      Object.entries(binding()).map(([name, call]) => [
        name,
        (...args: unknown[]): unknown => {
          calls.push(name);
          return Reflect.apply(call, undefined, args);
        },
      ]),
    ) as unknown as Binding;
    await withBinding(counting, async () => {
      cdevs.push(
        await openCdev(address, { ...roots, timeout: wait }),
        openCdevSync(address, roots),
      );
    });
    for (const cdev of cdevs) cdev.closeSync();
    const once = ['listFolder', 'readSmallFile', 'open', 'fstat'];
    assert.deepEqual(calls, [...once, ...once]);
  });

  it('does not keep a worker from ending', async () => {
    const worker = tsWorker(new URL('../support/worker_waiting.ts', import.meta.url), {
      workerData: { address, roots: fakeVfio() },
    });
    await once(worker, 'message');
    const start = performance.now();
    await worker.terminate();
    assert.ok(performance.now() - start < wait / 2);
  });
});
