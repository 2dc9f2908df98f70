// Run in a worker by test/device/nvme_driver.test.ts: writes blocks by a queue of its own, and
// reads them back.
import { parentPort, workerData } from 'node:worker_threads';
import { DmaBuffer, fromShared, type SharedToken } from 'vfio';
import type { NamespaceInfo } from '../../examples/nvme/identify.ts';
import { borrow, type LentQueue } from '../../examples/nvme/lent_queue.ts';

/** What it is given. */
export interface NvmeWorkerTask {
  lent: LentQueue;
  namespace: NamespaceInfo;
  memory: SharedToken<'dma-buffer'>;
  iova: bigint;
  block: number;
  seed: number;
}

const { lent, namespace, memory, iova, block, seed } = workerData as NvmeWorkerTask;
const borrowed = borrow(lent, (trouble) => {
  throw trouble;
});
const buffer: DmaBuffer = fromShared(memory);
const bytes = new Uint8Array(buffer.buffer);
const sent = bytes.map((_, at) => (at * seed) % 251);
bytes.set(sent);
await borrowed.queue.write(namespace, block, { bytes, iova });
await borrowed.queue.flush(namespace);
bytes.fill(0);
await borrowed.queue.read(namespace, block, { bytes, iova });
parentPort?.postMessage(Buffer.compare(bytes, sent) === 0);
borrowed.close();
await buffer.dispose();
