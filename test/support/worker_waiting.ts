// Run in a worker by test/unit/late_node.test.ts: waits for a node that never comes.

import { parentPort, workerData } from 'node:worker_threads';
import type { Roots } from '../../lib/core/location.ts';
import { openCdev } from '../../lib/index.ts';
import { whileWaiting } from './waiting.ts';

const { address, roots } = workerData as { address: string; roots: Roots };

await whileWaiting(
  () => openCdev(address, { ...roots, timeout: 600_000 }),
  () => parentPort?.postMessage('waiting'),
);
