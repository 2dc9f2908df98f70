// A device's node comes and goes while it is opened: it is the right one that is opened, or none.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fstatSync, statSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { findCdev, openCdev, openCdevSync, VfioDevice, VfioError } from '../../lib/index.ts';
import { rebind, unbind } from '../support/hotplug.ts';
import { labDevice } from './lab.ts';
import type { Session, Soak } from './soak.ts';

/** What an open may say of a node that is not there, or another's. */
const refusals = new Set([
  'ENOENT',
  'ENXIO',
  'ENODEV',
  'EISDIR',
  'EACCES',
  'ERR_VFIO_NODE_MISMATCH',
  'ERR_VFIO_NOT_BOUND_TO_VFIO',
]);

const program = new URL('../../programs/node_racer.js', import.meta.url);

const ways: ((address: string, rdev: number) => Promise<void> | void)[] = [
  async (address, rdev) => {
    await using cdev = await openCdev(address, { timeout: 5 });
    assertIs(cdev.fd, rdev);
  },
  (address, rdev) => {
    using cdev = openCdevSync(address);
    assertIs(cdev.fd, rdev);
  },
  async (address, rdev) => {
    await using device = await VfioDevice.open(address, { timeout: 5, backend: 'cdev' });
    assertIs(device.fd, rdev);
  },
];

function assertIs(fd: number, rdev: number): void {
  const found = fstatSync(fd).rdev;
  if (found !== rdev) throw new Error(`the wrong device was opened: ${found}, not ${rdev}`);
}

async function begin(): Promise<Session> {
  const { address } = labDevice('edu');
  const port = labDevice('edu-port');
  const { path } = findCdev(address);
  const { rdev } = statSync(path);
  const args = [program.pathname, path, findCdev(labDevice('testdev')).path];
  const racer = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  await once(racer.stdout, 'data');
  const seen: Record<string, number> = {};
  const count = (what: string): void => {
    seen[what] = (seen[what] ?? 0) + 1;
  };
  let at = 0;
  const race = async (): Promise<void> => {
    try {
      await ways[at++ % ways.length]?.(address, rdev);
      count('opened');
    } catch (error) {
      if (!(error instanceof VfioError && refusals.has(error.code))) throw error;
      count(error.code);
    }
  };
  /** The kernel itself takes the node away and makes it anew. */
  const rebound = async (): Promise<void> => {
    const state = { isOver: false };
    const over = unbind(port).then(() => (state.isOver = true));
    while (!state.isOver) {
      // An open that is refused at once does not let the loop turn, which has to tell of the end.
      await turn();
      try {
        await (await openCdev(port, { timeout: 5 })).close();
        count('opened before it was unbound');
      } catch (error) {
        if (!(error instanceof VfioError && refusals.has(error.code))) throw error;
        count(error.code);
      }
    }
    await over;
    rebind(port);
    await (await openCdev(port, { timeout: 5000 })).close();
    count('opened when it was bound again');
  };
  return {
    seen,
    async run(rounds) {
      for (let round = 0; round < rounds; round++) await race();
      await rebound();
    },
    async [Symbol.asyncDispose]() {
      racer.stdin.end();
      await once(racer, 'exit');
    },
  };
}

export const races: Soak = {
  what: 'an open while another process takes the node away, makes it anew, and puts others in its place',
  where: 'lab',
  rounds: 10_000,
  quick: 400,
  batch: 100,
  begin,
};
