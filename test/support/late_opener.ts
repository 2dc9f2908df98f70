// Run as a child by test/device/late_node.test.ts, as another user: opens the device that argv
// names and prints how it went.
import { Iommufd, openCdev, VfioDevice } from '../../lib/index.ts';
import { parseAddress } from '../../lib/locate/address.ts';

const [bus = '', address = '', timeout = '0', bind] = process.argv.slice(2);
const spec = parseAddress({ bus, address });
const options = { timeout: Number(timeout) };

process.stdout.write('opening\n');
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
