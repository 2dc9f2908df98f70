// Interrupts through the kernel: VFIO_DEVICE_SET_IRQS triggers them, and the device itself.
import { once } from 'node:events';
import { VfioDevice, type Interrupt, type MappedRegion } from '../../lib/index.ts';
import { labDevice } from './lab.ts';
import type { Session, Soak } from './soak.ts';

/** edu: which bits it raises, and which of them are acknowledged. */
const [raise, acknowledge] = [0x60, 0x64];

/** So many are triggered before the loop is let look; of the device's own each is waited for. */
const atATime = 32;

interface Seen extends Record<string, number> {
  triggered: number;
  raised: number;
}

function trigger(msi: Interrupt, at: number): void {
  if (at % 2 === 0) msi.trigger([true]);
  else msi.trigger();
}

async function begin(): Promise<Session> {
  const device = await VfioDevice.open(labDevice('edu'), { busMaster: true });
  const bar: MappedRegion = device.region('bar0').map();
  const msi = device.interrupt('msi');
  const [vector] = await msi.enable();
  if (vector === undefined) throw new Error('edu has no MSI');
  const seen: Seen = { triggered: 0, raised: 0 };
  let told = 0;
  vector.on('interrupt', (count) => (told += count));
  const heard = async (): Promise<void> => {
    const sent = seen.triggered + seen.raised;
    while (told < sent) await once(vector, 'interrupt');
    if (told !== sent) throw new Error(`${sent} interrupts were sent, ${told} told`);
  };
  const raiseOne = async (): Promise<void> => {
    seen.raised++;
    bar.write32(raise, 1);
    await heard();
    bar.write32(acknowledge, 1);
  };
  const triggerSome = async (count: number): Promise<void> => {
    for (let at = 0; at < count; at++) trigger(msi, at);
    seen.triggered += count;
    await heard();
  };
  return {
    seen,
    async run(rounds) {
      for (let left = rounds; left > 0; left -= atATime) {
        await raiseOne();
        await triggerSome(Math.min(left, atATime) - 1);
      }
    },
    async [Symbol.asyncDispose]() {
      await bar.close();
      await device.close();
    },
  };
}

export const interrupts: Soak = {
  what: "an MSI of edu, told to a listener: 31 of 32 by the kernel's trigger, one by the device",
  where: 'lab',
  rounds: 1_000_000,
  quick: 10_000,
  batch: 3200,
  begin,
};
