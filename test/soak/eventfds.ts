// Interrupts through eventfds, without a kernel's VFIO: another thread writes to them as a device would.
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { Eventfd } from '../../lib/interrupt/eventfd.ts';
import { InterruptVector } from '../../lib/interrupt/vector.ts';
import { tsWorker } from '../support/ts_worker.ts';
import type { Session, Soak } from './soak.ts';

const count = 16;

/** The vectors here belong to no device. */
const nobodys = undefined as never;

function startWriter(numbers: number[]): Worker {
  const isSource = import.meta.url.endsWith('.ts');
  const file = new URL(isSource ? 'writer.ts' : 'writer.js', import.meta.url);
  return isSource
    ? tsWorker(file, { workerData: numbers })
    : new Worker(file, { workerData: numbers });
}

async function begin(): Promise<Session> {
  let told = 0;
  let heard = (): void => undefined;
  let wanted = 0;
  const vectors = Array.from({ length: count }, (_, index) => {
    const event = Eventfd.open('an eventfd of the soak');
    const vector = InterruptVector.of(nobodys, index, event);
    vector.on('interrupt', (more) => {
      told += more;
      if (told >= wanted) heard();
    });
    return { vector, number: event.number };
  });
  const writer = startWriter(vectors.map(({ number }) => number));
  await once(writer, 'message');
  return {
    async run(rounds) {
      wanted = told + rounds;
      const all = new Promise<void>((resolve) => (heard = resolve));
      writer.postMessage(rounds);
      await Promise.all([all, once(writer, 'message')]);
      if (told !== wanted) throw new Error(`${rounds} were sent, and ${told - wanted} more told`);
    },
    async [Symbol.asyncDispose]() {
      await writer.terminate();
      for (const { vector } of vectors) vector.end();
    },
  };
}

export const eventfds: Soak = {
  what: 'an interrupt through one of 16 eventfds, told to a listener',
  where: 'machine',
  rounds: 100_000_000,
  quick: 500_000,
  batch: 100_000,
  begin,
};
