// Run in a worker by test/device/shared_interrupt.test.ts and shared_vector.test.ts: does with the interrupts of a shared
// device what it is told, and answers what came of it.
import { parentPort, workerData } from 'node:worker_threads';
import { fromShared, type SharedToken, type VfioError } from '../../lib/index.ts';

const device = fromShared(workerData as SharedToken<'device'>);
let told = 0;
let isOver = false;

async function count(name: string): Promise<void> {
  const [vector] = await device.interrupt(name).enable();
  const counts = vector?.counts();
  void (async () => {
    for await (const one of counts ?? []) {
      told += one;
      parentPort?.postMessage({ told });
    }
    isOver = true;
    parentPort?.postMessage({ over: true });
  })();
}

const orders: Record<string, (name: string) => unknown> = {
  count,
  // Of the first of its vectors.
  share: async (name) => (await device.interrupt(name).enable())[0]?.share(),
  enable: async (name) => (await device.interrupt(name).enable()).length,
  disable: (name) => device.interrupt(name).disable(),
  state: (name) => {
    const { enabled, vectors } = device.interrupt(name);
    return { enabled, vectors: vectors.length, told, isOver };
  },
  reset: () => device.reset(),
  close: () => device.close(),
  end: () => process.exit(),
};

async function obey(order: string, name: string): Promise<void> {
  try {
    parentPort?.postMessage({ value: await orders[order]?.(name) });
  } catch (error) {
    parentPort?.postMessage({ code: (error as VfioError).code });
  }
}

parentPort?.on('message', ([order, name = '']: [string, string?]) => void obey(order, name));
parentPort?.postMessage({ value: 'ready' });
