import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { setImmediate as turn } from 'node:timers/promises';
import { it } from 'mocha';
import { binding } from '../../lib/core/binding.ts';
import { VfioDevice } from '../../lib/index.ts';
import { describeLab } from '../support/devices.ts';
import { withBinding } from '../support/fake_binding.ts';

/** Calls back for each turn of the event loop until it is done. */
async function countTurns(done: unknown, count: () => void): Promise<void> {
  const ended = Promise.resolve(done).then(() => true);
  while (!(await Promise.race([ended, turn(false)]))) count();
}

describeLab(
  'the event loop while devices reset',
  ['nvme0', 'nvme1', 'nvme-port', 'nvme-sriov'],
  (lab) => {
    it('turns while a device is bound and closed, each with a reset', async () => {
      const { bind, close } = binding();
      const turns = { bind: 0, close: 0 };
      const counting =
        <Args extends unknown[], Result>(
          name: keyof typeof turns,
          run: (...args: Args) => Result,
        ) =>
        (...args: Args): Result => {
          const answer = run(...args);
          void countTurns(answer, () => turns[name]++);
          return answer;
        };
      const counters = { bind: counting('bind', bind), close: counting('close', close) };
      await withBinding(counters, async () => {
        const device = await VfioDevice.open(lab.nvme0);
        turns.close = 0;
        await device.close();
      });
      // Each reset waits for 100 ms; a loop that waits for it turns once.
      assert.ok(turns.bind > 20 && turns.close > 20, JSON.stringify(turns));
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
