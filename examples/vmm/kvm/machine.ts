// A machine on KVM with QEMU's teaching device, whose guest is that of kvm.c.
import { closeSync } from 'node:fs';
import { DmaBuffer, KvmVfio, VfioDevice } from 'vfio';
import { exitIo, guestAt, type Kvm, loadKvm } from './kvm.ts';

const ramSize = 0x20_0000;
/** Guest-physical: RAM from 0 on, with a hole for the device's registers. */
const registersAt = 0xd0000;
const pieces: [start: number, end: number][] = [
  [0, registersAt],
  [0xe0000, ramSize],
];
/** The input of the guest's first 8259 that its handler serves. */
const line = 5;
/** Where the guest reads, and counts down, how many interrupts it waits for. */
export const roundsAt = 0x804;
/** What the guest has its device copy, from here to there. */
export const copied = { from: 0x2000, to: 0x3000, length: 64 };

export interface MachineOptions {
  /** Which of the device's interrupts is the guest's line; `msi` by default. */
  interrupt?: 'msi' | 'intx';
  /** How many interrupts the guest waits for; 1 by default. */
  rounds?: number;
}

export interface Machine {
  device: VfioDevice;
  /** The guest's, from 0 on. */
  memory: Uint8Array;
  /** Runs the guest until it says something: what it writes to which port. */
  next: () => Promise<{ port: number; value: number }>;
}

/** Makes a machine with a device, for as long as `body` takes. */
export async function withMachine<T>(
  address: string,
  options: MachineOptions,
  body: (machine: Machine) => Promise<T>,
): Promise<T> {
  const kvm = loadKvm();
  const vm = kvm.createVm();
  const fds = [vm];
  try {
    kvm.createIrqchip(vm);
    // KVM is told of the device before it is bound, and forgets it when it is closed.
    await using kvmVfio = await KvmVfio.create(vm);
    await using device = await VfioDevice.open(address, { kvm: kvmVfio, busMaster: true });
    using registers = device.region('bar0').map({ offset: 0, size: 0x1000 });
    if ((registers.read32(0) & 0xff) !== 0xed) throw new Error(`${address} is no edu device`);
    await using ram = await DmaBuffer.allocate(ramSize);
    await using ioas = device.createIoas();
    // The same memory is the guest's and, at the same addresses, what the device reaches.
    for (const [slot, [start, end]] of pieces.entries()) {
      kvm.setMemory(vm, slot, BigInt(start), end - start, ram.address + BigInt(start));
      await ioas.map(ram, { iova: BigInt(start), offset: start, length: end - start });
    }
    await device.attach(ioas);
    kvm.setMemory(vm, pieces.length, BigInt(registersAt), registers.size, registers.address);
    fds.push(...(await connect(kvm, vm, device, options)));

    const memory = new Uint8Array(ram.buffer);
    memory.set(kvm.guest(), guestAt);
    memory.fill(0x5a, copied.from, copied.from + copied.length);
    new DataView(ram.buffer).setUint32(roundsAt, options.rounds ?? 1, true);
    const vcpu = kvm.createVcpu(vm);
    fds.push(vcpu);
    const next: Machine['next'] = async () => {
      const { reason, port, value } = await kvm.run(vcpu);
      if (reason !== exitIo) throw new Error(`the guest stopped: KVM_EXIT ${reason}`);
      return { port, value };
    };
    try {
      return await body({ device, memory, next });
    } finally {
      await device.detach();
    }
  } finally {
    // No guest runs any more when what it reached is unmapped: something else may come to lie
    // there. The VM goes with the last who has it.
    for (const fd of fds) closeSync(fd);
  }
}

/** The device signals an eventfd and KVM raises the line, without this process. */
async function connect(
  kvm: Kvm,
  vm: number,
  device: VfioDevice,
  { interrupt: name = 'msi' }: MachineOptions,
): Promise<number[]> {
  const interrupt = device.interrupt(name);
  const trigger = kvm.createEventfd();
  await interrupt.enable({ eventfds: [trigger] });
  if (name === 'msi') {
    kvm.setIrqfd(vm, trigger, line);
    return [trigger];
  }
  // The kernel masks the device's line when it comes. KVM tells it when the guest has ended it.
  const ended = kvm.createEventfd();
  interrupt.resample(ended);
  kvm.setIrqfd(vm, trigger, line, ended);
  return [trigger, ended];
}
