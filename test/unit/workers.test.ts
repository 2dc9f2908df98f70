import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { Worker } from 'node:worker_threads';
import { describe, it } from 'mocha';
import { libraryFds } from '../support/proc.ts';
import { compiledWorker } from '../support/compiled_worker.ts';

/** Descriptors of the storm's calls. */
const ours = (): number => libraryFds().filter((target) => target === '/dev/full').length;

/** The memory that is mapped, by the numbers of its files. */
function mappedMemory(): string[] {
  const maps = readFileSync('/proc/self/maps', 'utf8');
  return [...maps.matchAll(/ (\d+) +\/memfd:vfio-dma/g)].map(([, inode = '']) => inode);
}

const storm = compiledWorker(new URL('../support/worker_storm.ts', import.meta.url));
const buffers = compiledWorker(new URL('../support/worker_buffers.ts', import.meta.url));

async function terminateInMidFlight(start: () => Worker): Promise<void> {
  const worker = start();
  await once(worker, 'message');
  await worker.terminate();
}

describe('the addon in workers', () => {
  it('ends with its worker, also in the middle of calls, and leaves no descriptor and no memory', async () => {
    // Test files before this one in the same process may have left some to the garbage collector.
    const before = new Set(mappedMemory());
    for (let round = 0; round < 15; round++) {
      const starts = [storm, storm, buffers];
      await Promise.all(starts.map((start) => terminateInMidFlight(start)));
    }
    assert.equal(ours(), 0);
    assert.deepEqual(
      mappedMemory().filter((inode) => !before.has(inode)),
      [],
    );
  }).timeout(60_000);
});
