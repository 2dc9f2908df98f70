import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { it } from 'mocha';
import { VfioDevice } from '../../lib/index.ts';
import { describeLab } from '../support/devices.ts';

describeLab(
  'the event loop while devices reset',
  ['nvme0', 'nvme1', 'nvme-port', 'nvme-sriov'],
  (lab) => {
    it('ticks on while a bind waits for a reset', async () => {
      let ticks = 0;
      const timer = setInterval(() => ticks++, 1);
      const device = await VfioDevice.open(lab.nvme0);
      const whileBinding = ticks;
      ticks = 0;
      await device.close();
      clearInterval(timer);
      assert.ok(whileBinding > 20, `${whileBinding} ticks while binding`);
      assert.ok(ticks > 20, `${ticks} ticks while closing`);
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
