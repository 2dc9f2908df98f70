// Workers and processes that end in the midst of using a device: it is free then, and nothing is left.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { VfioDevice } from '../../lib/index.ts';
import type { TestDevice } from '../support/devices.ts';
import { labDevice } from './lab.ts';
import type { Session, Soak } from './soak.ts';

/** One file, which build:test makes: modules load slowly in the lab. */
const program = new URL('../../programs/life.js', import.meta.url);

/** Those of life.ts. */
const states = [
  ...['no device', 'open cdev', 'binding', 'closing', 'open', 'open by group', 'mapped', 'mapping'],
  ...['pool', 'registers', 'polling', 'interrupts', 'waiting', 'DMA under way'],
  ...['shared, not taken', 'configuring'],
];

interface Orders {
  address: string;
  state: string;
}

/** Once it is in its state it is terminated, or told to end itself. */
async function endWorker(orders: Orders, byItself: boolean): Promise<void> {
  const worker = new Worker(program, { workerData: orders });
  const exit = once(worker, 'exit');
  await Promise.race([once(worker, 'message'), exit.then(() => raise(orders))]);
  if (byItself) worker.postMessage('end');
  else void worker.terminate();
  await exit;
}

async function killProcess(orders: Orders): Promise<void> {
  const child = spawn(process.execPath, [program.pathname, JSON.stringify(orders)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exit = once(child, 'exit') as Promise<[number | null, string | null]>;
  await Promise.race([once(child.stdout, 'data'), exit.then(() => raise(orders))]);
  child.kill('SIGKILL');
  const [, signal] = await exit;
  if (signal !== 'SIGKILL') throw new Error(`${orders.state}: it ended before it was killed`);
}

function raise({ state }: Orders): never {
  throw new Error(`it ended before it was ${state}`);
}

/** Two at a time, each with a device of its own, which opens at once when the other has ended. */
function begin(end: (orders: Orders, at: number) => Promise<void>): Session {
  const seen: Record<string, number> = {};
  let at = 0;
  const lane = async (spec: TestDevice, rounds: number): Promise<void> => {
    for (let round = 0; round < rounds; round++) {
      const mine = at++;
      const state = states[mine % states.length] ?? '';
      await end({ address: spec.address, state }, Math.floor(mine / states.length));
      VfioDevice.openSync(spec).closeSync();
      seen[state] = (seen[state] ?? 0) + 1;
    }
  };
  const specs = [labDevice('edu'), labDevice('edu-port')] as const;
  return {
    seen,
    async run(rounds) {
      const half = Math.floor(rounds / 2);
      await Promise.all([lane(specs[0], rounds - half), lane(specs[1], half)]);
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

export const workers: Soak = {
  what: 'a worker that is ended in one of 16 states, by terminate() or process.exit()',
  where: 'lab',
  rounds: 1000,
  quick: 16,
  batch: 8,
  begin: () => begin((orders, turn) => endWorker(orders, turn % 2 === 1)),
};

export const kills: Soak = {
  what: 'a process that is ended by SIGKILL in one of 16 states',
  where: 'lab',
  rounds: 1000,
  quick: 16,
  batch: 8,
  begin: () => begin((orders) => killProcess(orders)),
};
