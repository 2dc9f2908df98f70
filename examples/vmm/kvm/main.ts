// A small VMM: boots some bytes of its own on KVM, gives them QEMU's teaching device, and shows what
// they say. The guest reads the device's registers where they are mapped, gets its interrupt by an
// irqfd, and has it copy its memory by DMA; this program only listens.
//
//   npm run lab -- sh -c 'modprobe kvm_amd && node build-test/examples/vmm/kvm/main.js 00:02.0'
import { copied, withMachine } from './machine.ts';

const [address = '00:02.0', interrupt = 'msi'] = process.argv.slice(2);
if (interrupt !== 'msi' && interrupt !== 'intx') throw new Error('the interrupt is msi or intx');

const meanings = ['', 'the device is', '10! is', 'DMA brought'];
await withMachine(address, { interrupt }, async ({ memory, next }) => {
  for (let said = 1; said < meanings.length; said++) {
    const { port, value } = await next();
    console.log(`guest: ${meanings[port]} 0x${value.toString(16)}`);
  }
  const part = (from: number): Uint8Array => memory.subarray(from, from + copied.length);
  console.log(`copied: ${Buffer.compare(part(copied.from), part(copied.to)) === 0}`);
});
