// Opens and closes a device some times, in one form, for bench/syscalls.ts, which traces it: a look
// for a file that is not there marks where each round begins, where the device is open, and where
// it is closed.
import { existsSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { VfioDevice } from '../lib/index.ts';

const [form, address = '', rounds] = process.argv.slice(2);
const options = { requestEvents: false };

/** Makes a system call that is seen in the trace. */
function mark(name: string): void {
  existsSync(`/mark-${name}`);
}

for (let round = 0; round < Number(rounds); round++) {
  mark('begin');
  if (form === 'sync') {
    const device = VfioDevice.openSync(address, options);
    device.attachSync(device.createIoas());
    mark('opened');
    device.closeSync();
  } else {
    const device = await VfioDevice.open(address, options);
    await device.attach(device.createIoas());
    mark('opened');
    await device.close();
  }
  mark('closed');
  // What the engine does in the background should not fall into the next round.
  await setTimeout(20);
}
