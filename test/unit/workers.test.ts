import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { describe, it } from 'mocha';
import { libraryFds } from '../support/proc.ts';
import { compiledWorker } from '../support/compiled_worker.ts';

/** Descriptors of the storm's calls. */
const ours = (): number => libraryFds().filter((target) => target === '/dev/full').length;

const start = compiledWorker(new URL('../support/worker_storm.ts', import.meta.url));

async function terminateInMidFlight(): Promise<void> {
  const worker = start();
  await once(worker, 'message');
  await worker.terminate();
}

describe('the addon in workers', () => {
  it('ends with its worker, also in the middle of calls, and leaves no descriptor', async () => {
    for (let round = 0; round < 15; round++) {
      await Promise.all([terminateInMidFlight(), terminateInMidFlight()]);
    }
    assert.equal(ours(), 0);
    assert.doesNotMatch(readFileSync('/proc/self/maps', 'utf8'), /memfd:vfio-dma/);
  }).timeout(60_000);
});
