// Run as a child that has a channel as its descriptor 3: takes the device that comes by it, drives
// QEMU's edu through it (a register, an interrupt, a DMA both ways) and says how it went.
import { DmaBuffer, FdChannel } from '../../lib/index.ts';
import { Edu } from './edu.ts';
import { receivedDevice } from './received_device.ts';

const channel = FdChannel.fromFd(3);
const { device, ioases } = await receivedDevice(channel);
const [ioas] = ioases;
if (!ioas) throw new Error('no address space came');

using bar = device.region('bar0').map();
const identification = bar.read32(0);

const dma = new Edu(device);
const [vector] = await device.interrupt('msi').enable();
if (!vector) throw new Error('no vector');
const interrupts = vector.counts();
bar.write32(0x20, 0x80);
bar.write32(0x08, 5);
const next = await interrupts.next();
bar.write32(0x64, bar.read32(0x24));
const factorial = bar.read32(0x08);
await interrupts.return?.();

await device.attach(ioas);
const memory = await DmaBuffer.allocate(4096);
const mapping = await ioas.map(memory, { iova: 0x10_0000n });
const bytes = new Uint8Array(memory.buffer);
bytes.set([3, 1, 4, 1, 5]);
await dma.load(mapping.iova, 16);
await dma.store(mapping.iova + 64n, 16);

const answer = {
  uid: process.getuid?.(),
  devId: device.devId,
  requestEvents: device.requestEvents,
  identification,
  interrupted: next.done ? 0 : next.value,
  factorial,
  copied: [...bytes.subarray(64, 69)],
};
await channel.send(Buffer.from(JSON.stringify(answer)));
// Until it is told that this will do; it then ends with all of it open.
await channel.receive();
process.exit(0);
