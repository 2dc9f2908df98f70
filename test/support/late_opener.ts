// Run as a child by test/device/late_node.test.ts, as another user: opens the device that argv
// names and prints each time that it waits, and how it went.
import { binding, replaceBinding } from '../../lib/core/binding.ts';
import { Iommufd, openCdev, VfioDevice } from '../../lib/index.ts';
import { parseAddress } from '../../lib/locate/address.ts';
import { tellingOfWaits } from './waiting.ts';

const [bus = '', address = '', timeout = '0', bind] = process.argv.slice(2);
const spec = parseAddress({ bus, address });
const options = { timeout: Number(timeout) };

const telling = tellingOfWaits(() => process.stdout.write('waiting\n'));
replaceBinding({ ...binding(), ...telling });
try {
  if (bind === 'bind') {
    const iommufd = Iommufd.open();
    const device = await VfioDevice.open(spec, { ...options, iommufd });
    process.stdout.write(`bound ${device.path} ${device.info.regions.length}\n`);
    await device.close();
  } else {
    const cdev = await openCdev(spec, options);
    process.stdout.write(`opened ${cdev.path}\n`);
    await cdev.close();
  }
} catch (error) {
  process.stdout.write(
    `${error instanceof Error && 'code' in error ? String(error.code) : String(error)}\n`,
  );
}
