// Run in a worker by test/unit/shared_vector.test.ts and test/device/shared_vector.test.ts: does with
// a vector that another thread shared what it is told, and answers what came of it.
import { parentPort, workerData } from 'node:worker_threads';
import { fromShared, type SharedToken, type VfioError } from '../../lib/index.ts';

const tell = (message: object): void => parentPort?.postMessage(message);

const vector = fromShared(workerData as SharedToken<'vector'>);
let told = 0;
const listener = (count: number): void => {
  told += count;
  tell({ told });
};

const orders: Record<string, (argument: number) => unknown> = {
  listen: () => vector.on('interrupt', listener).listenerCount('interrupt'),
  unlisten: () => vector.off('interrupt', listener).listenerCount('interrupt'),
  // Until it is over, which is told.
  iterate: () => {
    void (async () => {
      for await (const count of vector) listener(count);
      tell({ over: true });
    })();
    return told;
  },
  wait: (timeout) => vector.wait({ timeout }),
  // Is waited for by nobody here: what comes of it is told.
  begin: () => {
    vector.wait().then(
      (count) => {
        tell({ told: count });
      },
      (error: unknown) => {
        tell({ code: (error as VfioError).code });
      },
    );
  },
  total: () => told,
  number: () => vector.fd,
  // The listener holds the loop up, so that the thread is ended in the middle of it.
  stay: () => {
    vector.on('interrupt', () => {
      tell({ told: 1 });
      for (;;);
    });
  },
  share: () => vector.share(),
  close: () => {
    vector.close();
  },
  unref: () => {
    vector.unref();
    parentPort?.close();
  },
};

async function obey(order: string, argument: number): Promise<void> {
  try {
    tell({ value: await orders[order]?.(argument) });
  } catch (error) {
    tell({ code: (error as VfioError).code });
  }
}

parentPort?.on('message', ([order, argument = 0]: [string, number?]) => void obey(order, argument));
tell({ value: 'ready' });
