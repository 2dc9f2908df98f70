// Run in a worker by test/device/interrupt.test.ts: takes interrupts of a device until it is
// terminated, and says when a hundred were told.
import { parentPort, workerData } from 'node:worker_threads';
import { VfioDevice } from '../../lib/index.ts';

const device = await VfioDevice.open(workerData as string);
const msi = device.interrupt('msi');
const [vector] = await msi.enable();
let told = 0;
vector?.on('interrupt', (count) => {
  told += count;
  if (told === 100) parentPort?.postMessage('taking');
  msi.trigger();
});
msi.trigger();
