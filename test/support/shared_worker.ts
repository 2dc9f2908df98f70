// Run in a worker by test/unit/shared.test.ts: takes what was shared, and ends without closing it.
import { parentPort, workerData } from 'node:worker_threads';
import { DmaBuffer, fromShared, type SharedToken } from '../../lib/index.ts';

const shared = fromShared(workerData as SharedToken<'dma-buffer' | 'iommufd'>);
if (shared instanceof DmaBuffer) {
  const bytes = new Uint8Array(shared.buffer);
  const [first = 0] = bytes;
  bytes[0] = first + 1;
  parentPort?.postMessage(first);
} else {
  parentPort?.postMessage(shared.fd);
}
