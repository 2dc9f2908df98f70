// Opening and closing a device, by every way there is.
import { VfioDevice, type BackendKind } from '../../lib/index.ts';
import { labDevice } from './lab.ts';
import type { Session, Soak } from './soak.ts';

const ways: { backend: BackendKind; sync: boolean }[] = [
  { backend: 'cdev', sync: false },
  { backend: 'cdev', sync: true },
  { backend: 'cdev', sync: false },
  { backend: 'cdev', sync: true },
  { backend: 'group', sync: false },
  { backend: 'compat', sync: false },
];

function begin(): Session {
  const spec = labDevice('edu');
  let at = 0;
  const openOne = async (): Promise<void> => {
    const { backend, sync } = ways[at++ % ways.length] ?? { backend: 'cdev', sync: false };
    if (sync) VfioDevice.openSync(spec, { backend }).closeSync();
    else await (await VfioDevice.open(spec, { backend })).close();
  };
  return {
    async run(rounds) {
      for (let round = 0; round < rounds; round++) await openOne();
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

export const opens: Soak = {
  what: 'an open and a close of edu, by cdev, group and compat, by promise and blocking',
  where: 'lab',
  rounds: 100_000,
  quick: 300,
  batch: 60,
  begin,
};
