// Drives QEMU's teaching device `edu` by its registers: who it is, whether it is alive, and how much
// 12! is. QEMU's docs/specs/edu.rst says what the registers do.
//
//   npm run lab -- node build-test/examples/edu.js 00:02.0
import { VfioDevice } from 'vfio';

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
