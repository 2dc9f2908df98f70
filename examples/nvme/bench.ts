import { once } from 'node:events';
import { setImmediate } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { DmaBuffer } from 'vfio';
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

/** Random reads by this thread: how many there were, and how many failed. */
export async function bench(controller: Controller, options: BenchOptions): Promise<WorkerResult> {
  const { namespace, bytes, depth, milliseconds } = options;
  const queue = await controller.createQueue(depth + 1);
  await using memory = await DmaBuffer.allocate(depth * bytes);
  const { iova } = await controller.space.map(memory);
  const data = { bytes: new Uint8Array(memory.buffer), iova };
  const { prps, commands } = queue;
  const reads = new RandomReads({ pair: commands.pair, prps, namespace, bytes, depth, data });
  const until = performance.now() + milliseconds;
  while (performance.now() < until) {
    reads.run(10);
    // Timers, signals, and the news that somebody wants the device back.
    await setImmediate();
    if (controller.failure) throw controller.failure;
  }
  reads.finish();
  return { done: reads.done, errors: reads.errors };
}

/** The same by workers, a queue pair each. */
export async function benchWorkers(
  controller: Controller,
  count: number,
  options: BenchOptions,
): Promise<WorkerResult> {
  const one = (): Promise<WorkerResult> => benchWorker(controller, options);
  const results = await Promise.all(Array.from({ length: count }, one));
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
  const [result] = (await once(worker, 'message')) as [WorkerResult];
  await once(worker, 'exit');
  await controller.takeBack(lent.id);
  return result;
}
