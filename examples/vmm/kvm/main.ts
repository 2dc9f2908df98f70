// A VMM in one file: boots 229 bytes of its own on KVM, gives them QEMU's teaching device, and shows
// what they say. The guest reads the device's registers where they are mapped, gets its interrupt by
// an irqfd, and has it copy its memory by DMA; this program only listens.
//
//   npm run lab -- sh -c 'modprobe kvm_amd && node build-test/examples/vmm/kvm/main.js 00:02.0'
import { closeSync } from 'node:fs';
import { DmaBuffer, KvmVfio, VfioDevice } from 'vfio';
import { exitIo, guestAt, loadKvm } from './kvm.ts';

const [address = '00:02.0'] = process.argv.slice(2);

/** Guest-physical: RAM from 0 on, with a hole for the device's registers. */
const registersAt = 0xd0000;
const afterHole = 0xe0000;
const ramSize = 0x20_0000;
/** What the guest's device copies, from here to there. */
const copied = { from: 0x2000, to: 0x3000, length: 64 };
/** The input of the guest's first 8259 that its handler serves. */
const line = 5;

const kvm = loadKvm();
const vm = kvm.createVm();
kvm.createIrqchip(vm);

// KVM is told of the device before it is bound, and forgets it when it is closed.
await using kvmVfio = await KvmVfio.create(vm);
await using device = await VfioDevice.open(address, { kvm: kvmVfio, busMaster: true });
using registers = device.region('bar0').map({ offset: 0, size: 0x1000 });
if ((registers.read32(0) & 0xff) !== 0xed) throw new Error(`${address} is no edu device`);

// The same memory is the guest's and, at the same addresses, what the device reaches.
await using ram = await DmaBuffer.allocate(ramSize);
await using ioas = device.createIoas();
const pieces: [start: number, end: number][] = [
  [0, registersAt],
  [afterHole, ramSize],
];
for (const [slot, [start, end]] of pieces.entries()) {
  kvm.setMemory(vm, slot, BigInt(start), end - start, ram.address + BigInt(start));
  await ioas.map(ram, { iova: BigInt(start), offset: start, length: end - start });
}
await device.attach(ioas);
kvm.setMemory(vm, 2, BigInt(registersAt), registers.size, registers.address);

const [vector] = await device.interrupt('msi').enable();
if (!vector) throw new Error('the device gave no vector');
kvm.setIrqfd(vm, vector.fd, line);

const memory = new Uint8Array(ram.buffer);
memory.set(kvm.guest(), guestAt);
memory.fill(0x5a, copied.from, copied.from + copied.length);

const meanings = ['', 'the device is', '10! is', 'DMA brought'];
const vcpu = kvm.createVcpu(vm);
for (let said = 0; said < meanings.length - 1; said++) {
  const { reason, port, value } = await kvm.run(vcpu);
  if (reason !== exitIo) throw new Error(`the guest stopped: KVM_EXIT ${reason}`);
  console.log(`guest: ${meanings[port]} 0x${value.toString(16)}`);
}
const part = (from: number): Uint8Array => memory.subarray(from, from + copied.length);
console.log(`copied: ${Buffer.compare(part(copied.from), part(copied.to)) === 0}`);

// Nothing runs in the guest any more when what it reached is unmapped: something else may come to
// lie there. The VM itself goes with its last user, which is the device.
closeSync(vcpu);
closeSync(vm);
await device.detach();
