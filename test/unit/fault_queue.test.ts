import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, it } from 'mocha';
import { type Answer, binding } from '../../lib/core/binding.ts';
import { OwnedFd } from '../../lib/core/owned_fd.ts';
import { FaultQueue } from '../../lib/iommu/fault_queue.ts';
import { failure } from '../support/errors.ts';
import { withBinding } from '../support/fake_binding.ts';
import { put } from '../support/kernel_bytes.ts';
import { root } from '../support/root.ts';
import { tree } from '../support/tree.ts';

describe('a fault queue that is waited for', () => {
  /** A queue that is a FIFO: what is written to it is what the kernel would tell. */
  async function withQueue(
    body: (queue: FaultQueue, tell: (...cookies: number[]) => void) => Promise<void>,
  ): Promise<void> {
    const file = `${tree({ kept: '' })}/queue`;
    execFileSync('mkfifo', [file]);
    const flags = constants.O_RDWR | constants.O_NONBLOCK;
    const faultQueueAlloc = (): Answer => binding().open(file, flags);
    const iommufd = OwnedFd.open('/dev/null', 'the fake iommufd');
    const writer = openSync(file, flags);
    const fakes = { faultQueueAlloc, destroy: () => Promise.resolve(0), destroySync: () => 0 };
    await withBinding(fakes, async () => {
      const queue = FaultQueue.create(iommufd);
      await body(queue, (...cookies) => {
        const faults = cookies.map((cookie) => {
          const bytes = new Uint8Array(40);
          put(bytes, { u32: { 36: cookie } });
          return bytes;
        });
        writeSync(writer, Buffer.concat(faults));
      });
      queue.closeSync();
    });
    closeSync(writer);
    iommufd.closeSync();
  }

  const cookiesOf = (faults: { cookie: number }[]): number[] => faults.map(({ cookie }) => cookie);

  it('tells of faults as they come, all that are there at once', () =>
    withQueue(async (queue, tell) => {
      const seen: number[][] = [];
      const loop = (async () => {
        for await (const faults of queue) seen.push(cookiesOf(faults));
      })();
      for (const cookies of [[1], [2, 3], [4]]) {
        const before = seen.length;
        tell(...cookies);
        while (seen.length === before) await turn();
      }
      assert.deepEqual(seen, [[1], [2, 3], [4]]);
      await queue.close();
      await loop;
      assert.deepEqual(await queue.faults().next(), { value: undefined, done: true });
      await failure(() => queue.wait(), 'ERR_VFIO_CLOSED');
    }));

  it('is waited for by several, each of whom goes on', () =>
    withQueue(async (queue, tell) => {
      const waits = Promise.all([queue.wait(), queue.wait(), queue.wait()]);
      tell(7);
      await waits;
      await queue.wait();
      assert.deepEqual(cookiesOf(queue.read()), [7]);
      const waiting = queue.wait();
      const other = assert.rejects(queue.wait(), { code: 'ERR_VFIO_CLOSED' });
      const first = assert.rejects(waiting, { code: 'ERR_VFIO_CLOSED' });
      queue.closeSync();
      await Promise.all([first, other]);
    }));

  it('is not waited for any more after an abort', () =>
    withQueue(async (queue, tell) => {
      const reason = new Error('enough');
      const controller = new AbortController();
      const { signal } = controller;
      const stays = queue.wait();
      const loop = queue.faults({ signal }).next();
      const wait = queue.wait({ signal });
      controller.abort(reason);
      await assert.rejects(loop, reason);
      await assert.rejects(wait, reason);
      await assert.rejects(queue.wait({ signal }), reason);
      tell(1);
      await stays;
    }));

  it('does not keep the event loop alive when nobody waits', () => {
    const program = `
      import { FaultQueue } from './lib/iommu/fault_queue.ts';
      import { binding, replaceBinding } from './lib/core/binding.ts';
      import { OwnedFd } from './lib/core/owned_fd.ts';
      const event = binding().eventfdOpen();
      replaceBinding({ ...binding(), faultQueueAlloc: () => event });
      const queue = FaultQueue.create(OwnedFd.open('/dev/null', 'the test'));
      binding().eventfdWrite(event, 1);
      await queue.wait();
      const controller = new AbortController();
      binding().eventfdRead(event);
      setImmediate(() => controller.abort());
      await queue.wait({ signal: controller.signal }).catch(() => console.log('aborted'));`;
    const args = ['--import', 'tsx', '--input-type=module', '-e', program];
    const child = spawnSync(process.execPath, args, {
      cwd: root,
      encoding: 'utf8',
      timeout: 100_000,
    });
    assert.deepEqual([child.status, child.stdout], [0, 'aborted\n'], child.stderr);
  });
});
