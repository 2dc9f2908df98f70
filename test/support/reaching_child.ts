// Run as a child by test/device/pages.test.ts, with a channel as its descriptor 3: takes the device
// that comes by it, says so, and when it is told to has the device reach what is mapped; answers
// what it read, or the code of what refused it. With the argument "copy" it copies the map before
// to an address space of its own.
import { FdChannel, VfioError, type Ioas, type VfioDevice } from '../../lib/index.ts';
import { reach, reached } from './reach.ts';
import { receivedDevice } from './received_device.ts';

async function copyOf(from: Ioas, device: VfioDevice): Promise<Ioas> {
  const { iova, size } = reached;
  const own = device.iommufd.createIoas();
  await own.copy(iova, size, { from, iova });
  return own;
}

function codeOf(error: unknown): string {
  if (error instanceof VfioError) return error.code;
  throw error;
}

const channel = FdChannel.fromFd(3);
const { device, ioases } = await receivedDevice(channel);
const [ioas] = ioases;
if (!ioas) throw new Error('no address space came');
const space = process.argv[2] === 'copy' ? await copyOf(ioas, device) : ioas;
await channel.send(Buffer.from('taken'));
await channel.receive();
const answer = await reach(device, space).catch(codeOf);
await channel.send(Buffer.from(JSON.stringify(answer)));
await device.close();
process.exit(0);
