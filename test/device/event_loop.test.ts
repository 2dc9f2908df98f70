import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { setImmediate as turn } from 'node:timers/promises';
import { it } from 'mocha';
import { binding } from '../../lib/core/binding.ts';
import { VfioDevice } from '../../lib/index.ts';
import { describeLab, type TestDevice } from '../support/devices.ts';
import { withBinding } from '../support/fake_binding.ts';

/** Calls back for each turn of the event loop until it is done. */
async function countTurns(done: unknown, count: () => void): Promise<void> {
  const ended = Promise.resolve(done).then(() => true);
  while (!(await Promise.race([ended, turn(false)]))) count();
}

type Calls = Record<'bind' | 'close', (...args: never[]) => unknown>;

/** How often the loop turns during each of these calls of the addon, while a device opens and closes. */
async function turnsWhileResetting(
  spec: TestDevice,
  calls: Calls,
): Promise<Record<keyof Calls, number>> {
  const turns = { bind: 0, close: 0 };
  const counted = (name: keyof Calls) =>
    ((...args: never[]) => {
      const answer = calls[name](...args);
      void countTurns(answer, () => turns[name]++);
      return Promise.resolve(answer);
    }) as never;
  await withBinding({ bind: counted('bind'), close: counted('close') }, async () => {
    const device = await VfioDevice.open(spec);
    turns.close = 0;
    await device.close();
  });
  return turns;
}

describeLab(
  'the event loop while devices reset',
  ['nvme0', 'nvme1', 'nvme-port', 'nvme-sriov'],
  (lab) => {
    const spec = lab.nvme0;

    it('turns while a device is bound and closed, each with a reset', async () => {
      const { bind, close } = binding();
      const turns = await turnsWhileResetting(spec, { bind, close });
      // Of a slow machine it is few: what counts is that it is more than of a loop that waits.
      assert.ok(turns.bind > 2 && turns.close > 2, JSON.stringify(turns));
    });

    it('turns at most once where the thread of JavaScript itself is in the kernel', async () => {
      const { bindSync, closeSync } = binding();
      const turns = await turnsWhileResetting(spec, { bind: bindSync, close: closeSync });
      assert.ok(turns.bind <= 1 && turns.close <= 1, JSON.stringify(turns));
    });

    it('serves the file system while four devices reset', async () => {
      const order: string[] = [];
      const opening = Object.values(lab).map(async (spec) => {
        const device = await VfioDevice.open(spec);
        order.push('device');
        return device;
      });
      await stat('/');
      order.push('stat');
      for (const device of await Promise.all(opening)) await device.close();
      assert.deepEqual(order, ['stat', 'device', 'device', 'device', 'device']);
    });
  },
);
