// Run in a worker by test/device/watch.test.ts: tells what it is told of devices.
import { parentPort } from 'node:worker_threads';
import { watchDevices } from '../../lib/index.ts';

const watch = watchDevices();
parentPort?.postMessage('watching');
for await (const event of watch) parentPort?.postMessage(event);
