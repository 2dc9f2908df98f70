// Run as a worker: waits at both ends of a channel and at a listener, and ends in the middle of it.
import { parentPort, workerData } from 'node:worker_threads';
import { FdChannel, FdListener } from '../../lib/index.ts';

const [a, b] = FdChannel.pair();
const listener = FdListener.listen(workerData as string);
void a.receive();
void listener.accept();
for (let at = 0; at < 600; at++) void b.send(Uint8Array.of(1), [0]).catch(() => undefined);
await b.receive({ signal: AbortSignal.timeout(5) }).catch(() => undefined);
parentPort?.postMessage('waiting');
await b.receive();
