// Has QEMU's teaching device compute factorials, and waits for its interrupt instead of asking again
// and again. Run it in the lab:
//
//   npm run example:edu-interrupt
//   npx tsx examples/edu_interrupt.ts 0000:00:02.0 5 10
import { readSync, writeSync } from 'node:fs';
import { VfioDevice } from 'vfio';

/** Registers of the device, in its BAR 0 (QEMU's docs/specs/edu). */
const factorial = 0x08;
const status = 0x20;
const interruptStatus = 0x24;
const interruptAcknowledge = 0x64;

/** Bit of `status`: interrupt when a factorial is computed. */
const interruptWhenDone = 0x80;

/** PCI's Command register and its bit without which no message of the device gets out, MSI too. */
const command = 4;
const busMaster = 4;

/** The registers of one region, 32 bits each. */
class Registers {
  readonly #fd: number;
  readonly #start: number;
  readonly #bytes = Buffer.alloc(4);

  constructor(device: VfioDevice, region: string) {
    const found = device.info.regions.find(({ name }) => name === region);
    if (!found) throw new Error(`the device has no ${region}`);
    this.#fd = device.fd;
    this.#start = Number(found.offset);
  }

  read(offset: number): number {
    readSync(this.#fd, this.#bytes, 0, 4, this.#start + offset);
    return this.#bytes.readUInt32LE();
  }

  write(offset: number, value: number): void {
    this.#bytes.writeUInt32LE(value);
    writeSync(this.#fd, this.#bytes, 0, 4, this.#start + offset);
  }
}

const [address = '0000:00:02.0', ...numbers] = process.argv.slice(2);
const device = await VfioDevice.open(address);
try {
  const config = new Registers(device, 'config');
  config.write(command, config.read(command) | busMaster);

  const registers = new Registers(device, 'bar0');
  const [vector] = await device.interrupt('msi').enable();
  if (!vector) throw new Error('the device gave no vector');
  const interrupts = vector.counts();
  registers.write(status, interruptWhenDone);

  for (const number of numbers.length > 0 ? numbers : ['5', '10']) {
    registers.write(factorial, Number(number));
    await interrupts.next();
    registers.write(interruptAcknowledge, registers.read(interruptStatus));
    console.log(`${number}! = ${registers.read(factorial)}`);
  }
} finally {
  await device.close();
}
