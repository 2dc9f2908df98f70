// Run as a child by test/device/pages.test.ts, with a channel as its descriptor 3: takes the device that
// comes by it, says so, and when it is told to has the device reach what is mapped; answers what it read.
import { FdChannel, unpackDevice } from '../../lib/index.ts';
import { reach } from './reach.ts';

const channel = FdChannel.fromFd(3);
const message = await channel.receive();
if (!message) throw new Error('no message came');
const description: unknown = JSON.parse(Buffer.from(message.data).toString());
const { device, ioases } = unpackDevice(description, message.fds);
const [ioas] = ioases;
if (!ioas) throw new Error('no address space came');
await channel.send(Buffer.from('taken'));
await channel.receive();
await channel.send(Buffer.from(JSON.stringify(await reach(device, ioas))));
await device.close();
process.exit(0);
