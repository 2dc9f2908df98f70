// Drives QEMU's teaching device `edu` by its registers: who it is, whether it is alive, how much
// 12! is; and has its engine copy memory by DMA. QEMU's docs/specs/edu.rst says what the registers
// do.
//
//   npm run lab -- node build-test/examples/edu.js 00:02.0
import { DmaBuffer, VfioDevice } from 'vfio';

const [address = '00:02.0'] = process.argv.slice(2);

await using device = await VfioDevice.open(address);
using bar = device.region('bar0').map();

const regs = bar.registers({
  id: {
    offset: 0x00,
    access: 'r',
    fields: { major: 0xff00_0000, minor: 0x00ff_0000, magic: 0x0000_00ff },
  },
  // Reads as the inverse of what was written.
  liveness: { offset: 0x04 },
  // Writing a number starts the computation, reading gives its result.
  factorial: { offset: 0x08 },
  status: { offset: 0x20, fields: { computing: 0x01, raiseInterrupt: 0x80 } },
  // The engine's: from where, to where, how many bytes. Writing the last starts it.
  from: { offset: 0x80, width: 64 },
  to: { offset: 0x88, width: 64 },
  count: { offset: 0x90, width: 64 },
  command: { offset: 0x98, fields: { run: 0x01, toMemory: 0x02 } },
});

const { major, minor, magic } = regs.id.readFields();
if (magic !== 0xed) throw new Error(`${address} is no edu device`);
console.log(`edu ${major}.${minor} at ${address}`);

const sent = 0x1234_5678;
regs.liveness.write(sent);
const answer = regs.liveness.read();
if (answer !== ~sent >>> 0) throw new Error(`it answers 0x${answer.toString(16)}`);
console.log('it is alive');

const number = 12;
regs.factorial.write(number);
await bar.poll32(regs.status.offset, 0x01, 0, { timeout: 10_000 });
console.log(`${number}! = ${regs.factorial.read()}`);

const ioas = device.createIoas();
await device.attach(ioas);
device.pci.setBusMaster(true);

const half = 4096;
await using memory = await DmaBuffer.allocate(2 * half);
// The engine reaches addresses of 28 bits only; otherwise the kernel would choose.
const { iova } = await ioas.map(memory, { iova: 0x10_0000n });
const first = new Uint8Array(memory.buffer, 0, half);
const second = new Uint8Array(memory.buffer, half);

// Out of the first half into the device's own buffer, and from there into the second half.
const size = 4000;
const own = 0x40000n;
for (let at = 0; at < size; at++) first[at] = (at * 7) % 251;
await copy(iova, own, 0);
await copy(own, iova + BigInt(half), 1);

const same = first.subarray(0, size).every((byte, at) => second[at] === byte);
if (!same) throw new Error('what came back is not what was sent');
console.log(`${size} bytes went there and came back`);

async function copy(from: bigint, to: bigint, toMemory: 0 | 1): Promise<void> {
  regs.from.write(from);
  regs.to.write(to);
  regs.count.write(BigInt(size));
  regs.command.writeFields({ run: 1, toMemory });
  await bar.poll32(regs.command.offset, 0x01, 0, { timeout: 10_000 });
}
