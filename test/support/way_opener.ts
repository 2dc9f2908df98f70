// Run as a child by test/device/udev.test.ts, as another user: opens the device that argv names by
// each backend that argv names after it, and prints how each went.
import { VfioDevice } from '../../lib/index.ts';

const [bus = '', address = '', ...backends] = process.argv.slice(2);

for (const backend of backends as ('cdev' | 'group')[]) {
  const answer = await open(backend);
  process.stdout.write(`${answer}\n`);
}

async function open(backend: 'cdev' | 'group'): Promise<string> {
  try {
    const device = await VfioDevice.open({ bus, address }, { backend, timeout: 0 });
    const { kind } = device.backend;
    await device.close();
    return `opened by its ${kind}`;
  } catch (error) {
    const { code, path } = error as { code?: string; path?: string };
    return `${backend}: ${code ?? String(error)} ${path ?? ''}`.trim();
  }
}
