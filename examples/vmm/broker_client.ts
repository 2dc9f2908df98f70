// Drives QEMU's teaching device as a user who may not open it: a broker (broker.ts) does that, and
// passes it on. A register, an interrupt and a DMA both ways; it needs no capability for any of
// them.
//
//   node build-test/examples/vmm/broker_client.js /run/vfio-broker.sock 0000:00:02.0
import { DmaBuffer, FdChannel, unpackDevice, type UnpackedDevice } from 'vfio';
import { decode, encode, type Answer } from './protocol.ts';

const [path = '', address = '0000:00:02.0'] = process.argv.slice(2);
await using channel = FdChannel.connect(path);
const { device, ioases } = await ask();
await using _closed = device;

using bar = device.region('bar0').map();
const regs = bar.registers({
  id: { offset: 0x00, access: 'r', fields: { magic: 0xff } },
  factorial: { offset: 0x08 },
  status: { offset: 0x20, fields: { raiseInterrupt: 0x80 } },
  interruptStatus: { offset: 0x24, access: 'r' },
  interruptAcknowledge: { offset: 0x64 },
  dmaFrom: { offset: 0x80, width: 64 },
  dmaTo: { offset: 0x88, width: 64 },
  dmaCount: { offset: 0x90, width: 64 },
  dmaCommand: { offset: 0x98, width: 64 },
});

if (regs.id.readFields().magic !== 0xed) throw new Error(`${address} is no edu device`);
console.log(`user ${process.getuid?.()} has ${device.device.address}`);

// Without it the device sends neither interrupts (MSI) nor DMA.
device.pci.setBusMaster(true);

const [vector] = await device.interrupt('msi').enable();
if (!vector) throw new Error('the device gave no vector');
const interrupts = vector.counts();
regs.status.update({ raiseInterrupt: 1 });
regs.factorial.write(10);
await interrupts.next();
regs.interruptAcknowledge.write(regs.interruptStatus.read());
console.log(`it interrupts: 10! = ${regs.factorial.read()}`);
await device.interrupt('msi').disable();

const [ioas] = ioases;
if (!ioas) throw new Error('the broker sent no address space');
await device.attach(ioas);
await using memory = await DmaBuffer.allocate(4096);
// Its DMA reaches addresses of 28 bits only.
await using mapping = await ioas.map(memory, { iova: 0x10_0000n });
const text = Buffer.from(memory.buffer);
text.write('by DMA, there and back');
const half = 2048n;
await transfer(mapping.iova, 0x40000n, false);
await transfer(0x40000n, mapping.iova + half, true);
console.log(`it copies: ${text.toString('utf8', Number(half), Number(half) + 22)}`);
await device.detach();

async function ask(): Promise<UnpackedDevice> {
  await channel.send(encode({ open: address }));
  await using message = await channel.receive();
  if (!message) throw new Error('the broker ended');
  const answer = decode(message.data) as Answer;
  if (!answer.ok) throw new Error(`the broker refused: ${answer.why}`);
  // Where somebody wants it back it closes itself, since nobody listens to its event `request`.
  const options = { device: address, requestEvents: true };
  return unpackDevice(answer.device, message.fds, options);
}

async function transfer(from: bigint, to: bigint, toMemory: boolean): Promise<void> {
  regs.dmaFrom.write(from);
  regs.dmaTo.write(to);
  regs.dmaCount.write(22n);
  regs.dmaCommand.write(toMemory ? 3n : 1n);
  await bar.poll32(0x98, 1, 0, { timeout: 10_000 });
}
