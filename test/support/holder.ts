// Run as a child: opens the device that argv names, says so, and keeps it until it is killed.
import { VfioDevice } from '../../lib/index.ts';
import { parseAddress } from '../../lib/locate/address.ts';

const [bus = '', address = ''] = process.argv.slice(2);
const device = await VfioDevice.open(parseAddress({ bus, address }));
process.stdout.write(`bound ${device.path}\n`);
setInterval(() => device.fd, 60_000);
