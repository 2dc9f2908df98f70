// What is left behind on purpose, to see that it is found.
import { openSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { DmaBuffer } from '../../lib/index.ts';

const kept: unknown[] = [];

export const leaks: Readonly<Record<string, () => unknown>> = {
  descriptor: () => openSync('/dev/null', 'r'),
  thread: () => kept.push(new Worker('setInterval(() => {}, 60_000)', { eval: true })),
  mapping: () => kept.push(DmaBuffer.allocateSync(4096)),
  memory: () => kept.push(Buffer.alloc(4 * 2 ** 20, 1)),
};
