// A worker that drives a queue pair of its own: random reads for so long, then what they were.
import { parentPort, workerData } from 'node:worker_threads';
import { DmaBuffer, fromShared, type SharedToken } from 'vfio';
import type { NamespaceInfo } from './identify.ts';
import { borrow, type LentQueue } from './lent_queue.ts';
import { RandomReads } from './random_reads.ts';
import { NvmeError } from './status.ts';

/** What a worker gets. */
export interface WorkerTask {
  lent: LentQueue;
  namespace: NamespaceInfo;
  data: { memory: SharedToken<'dma-buffer'>; iova: bigint };
  bytes: number;
  depth: number;
  milliseconds: number;
}

/** What it answers. */
export interface WorkerResult {
  done: number;
  errors: number;
}

const { lent, namespace, data, bytes, depth, milliseconds } = workerData as WorkerTask;
const borrowed = borrow(lent, (trouble) => {
  throw trouble;
});
using memory: DmaBuffer = fromShared(data.memory);
const reads = new RandomReads({
  pair: borrowed.queue.commands.pair,
  registers: borrowed.registers,
  prps: borrowed.queue.prps,
  namespace,
  bytes,
  depth,
  data: { bytes: new Uint8Array(memory.buffer), iova: data.iova },
});
const until = performance.now() + milliseconds;
try {
  // This thread hears no events while it loops; a call tells of the one that matters. It throws
  // where the controller's thread has closed the device meanwhile.
  while (performance.now() < until && !borrowed.bar.removalRequested) reads.run(10);
  // Who has the admin queue may have switched the controller off already: then this throws.
  reads.finish(lent.timeout);
  if (borrowed.bar.removalRequested) {
    throw new NvmeError('removed', 'somebody wants the device back');
  }
} finally {
  borrowed.close();
}
const result: WorkerResult = { done: reads.done, errors: reads.errors };
parentPort?.postMessage(result);
