// Run in a worker by eventfds.ts: writes as often as it is told to the eventfds, in turns.
import { writeSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';

const numbers = workerData as number[];
const one = Buffer.from(BigUint64Array.of(1n).buffer);

parentPort?.on('message', (rounds: number) => {
  for (let at = 0; at < rounds; at++) writeSync(numbers[at % numbers.length] ?? -1, one);
  parentPort?.postMessage('written');
});
parentPort?.postMessage('ready');
