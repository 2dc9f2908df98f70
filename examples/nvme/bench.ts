import { once } from 'node:events';
import { setImmediate } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { DmaBuffer, type InterruptVector, VfioError } from 'vfio';
import type { Controller } from './controller.ts';
import type { NamespaceInfo } from './identify.ts';
import { RandomReads } from './random_reads.ts';
import type { WorkerResult, WorkerTask } from './worker.ts';

export interface BenchOptions {
  namespace: NamespaceInfo;
  bytes: number;
  depth: number;
  milliseconds: number;
}

/** How long a loop goes on before it lets everything else have its turn. */
const slice = 10;

/**
 * Random reads by this thread: how many there were, and how many failed. Where the queue has a
 * vector its interrupts say when to look; otherwise this polls.
 */
export async function bench(controller: Controller, options: BenchOptions): Promise<WorkerResult> {
  const { namespace, bytes, depth, milliseconds } = options;
  const { id, pair, prps, vector } = await controller.driveQueue(depth + 1);
  await using memory = await DmaBuffer.allocate(depth * bytes);
  const { iova } = await controller.space.map(memory);
  const data = { bytes: new Uint8Array(memory.buffer), iova };
  const { registers } = controller;
  const reads = new RandomReads({ pair, registers, prps, namespace, bytes, depth, data });
  const until = performance.now() + milliseconds;
  if (vector) await runByInterrupts(controller, reads, vector, until);
  else await runByPolling(controller, reads, until);
  reads.finish();
  await controller.takeBack(id);
  return { done: reads.done, errors: reads.errors };
}

async function runByPolling(
  controller: Controller,
  reads: RandomReads,
  until: number,
): Promise<void> {
  while (performance.now() < until) {
    reads.run(slice);
    // Timers, signals, and the news that somebody wants the device back.
    await setImmediate();
    if (controller.failure) throw controller.failure;
  }
}

async function runByInterrupts(
  controller: Controller,
  reads: RandomReads,
  vector: InterruptVector,
  until: number,
): Promise<void> {
  const stop = new AbortController();
  const onFailed = (error: Error): void => {
    stop.abort(error);
  };
  controller.once('failed', onFailed);
  try {
    reads.begin();
    while (performance.now() < until) {
      if (controller.failure) throw controller.failure;
      // What completes while this looks may not interrupt again: until a look finds nothing.
      if (lookForAll(reads)) await nextInterrupt(vector, until, stop.signal);
      else await setImmediate();
    }
  } finally {
    controller.off('failed', onFailed);
  }
}

/** Answers false where there may be more, and everything else is to have its turn. */
function lookForAll(reads: RandomReads): boolean {
  const end = performance.now() + slice;
  while (reads.look() > 0) if (performance.now() >= end) return false;
  return true;
}

/** Also returns when the time is over. */
async function nextInterrupt(
  vector: InterruptVector,
  until: number,
  signal: AbortSignal,
): Promise<void> {
  const timeout = Math.max(1, Math.ceil(until - performance.now()));
  try {
    await vector.wait({ timeout, signal });
  } catch (error) {
    if (!(error instanceof VfioError && error.code === 'ERR_VFIO_TIMEOUT')) throw error;
  }
}

/** The same by workers, a queue pair each, which poll. */
export async function benchWorkers(
  controller: Controller,
  count: number,
  options: BenchOptions,
): Promise<WorkerResult> {
  const one = (): Promise<WorkerResult> => benchWorker(controller, options);
  // Also where one fails: the others have queues of the controller until they end.
  const ends = await Promise.allSettled(Array.from({ length: count }, one));
  const failed = ends.find((end) => end.status === 'rejected');
  // Why the controller failed is why its workers did.
  if (controller.failure) throw controller.failure;
  if (failed) throw failed.reason;
  const results = ends.flatMap((end) => (end.status === 'fulfilled' ? [end.value] : []));
  const sum = (values: number[]): number => values.reduce((all, each) => all + each, 0);
  return {
    done: sum(results.map(({ done }) => done)),
    errors: sum(results.map(({ errors }) => errors)),
  };
}

async function benchWorker(controller: Controller, options: BenchOptions): Promise<WorkerResult> {
  const { bytes, depth } = options;
  const lent = await controller.lendQueue(depth + 1);
  await using memory = await DmaBuffer.allocate(depth * bytes);
  const { iova } = await controller.space.map(memory);
  const task: WorkerTask = { ...options, lent, data: { memory: memory.share(), iova } };
  const worker = new Worker(new URL('worker.js', import.meta.url), { workerData: task });
  const exit = new Promise<void>((resolve) =>
    worker.once('exit', () => {
      resolve();
    }),
  );
  try {
    const [result] = (await once(worker, 'message')) as [WorkerResult];
    await exit;
    await controller.takeBack(lent.id);
    return result;
  } finally {
    // Its memory is its own until then.
    await exit;
  }
}
