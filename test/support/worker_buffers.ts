// Run in a worker by test/unit/workers.test.ts: makes ArrayBuffers over memory until it is
// terminated, without a turn of the loop, so that this is likely to come in the middle of making
// one.

import { parentPort } from 'node:worker_threads';
import { binding, type NativeMemory } from '../../lib/core/binding.ts';

const native = binding();

parentPort?.postMessage('running');

for (;;) {
  const memory = native.memoryAllocateSync(65536n, 0, 0) as NativeMemory;
  native.memoryBuffer(memory, 0n, 65536n);
  native.memoryRelease(memory);
}
