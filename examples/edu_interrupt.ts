// Has QEMU's teaching device compute factorials, and waits for its interrupt instead of asking
// again and again. Run it in the lab:
//
//   npm run example:edu-interrupt
//   npm run lab -- node build-test/examples/edu_interrupt.js 00:02.0 5 10
import { VfioDevice } from 'vfio';

const [address = '00:02.0', ...numbers] = process.argv.slice(2);

// A message is a write by DMA: without bus mastering none gets out.
await using device = await VfioDevice.open(address, { busMaster: true });
using bar = device.region('bar0').map();

const regs = bar.registers({
  factorial: { offset: 0x08 },
  status: { offset: 0x20, fields: { raiseInterrupt: 0x80 } },
  raised: { offset: 0x24, access: 'r' },
  acknowledge: { offset: 0x64, access: 'w' },
});

const [vector] = await device.interrupt('msi').enable();
if (!vector) throw new Error('the device gave no vector');
const interrupts = vector.counts();
regs.status.update({ raiseInterrupt: 1 });

for (const number of numbers.length > 0 ? numbers : ['5', '10']) {
  regs.factorial.write(Number(number));
  await interrupts.next();
  regs.acknowledge.write(regs.raised.read());
  console.log(`${number}! = ${regs.factorial.read()}`);
}
