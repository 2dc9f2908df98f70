import { readSync, writeSync } from 'node:fs';
import type { VfioDevice } from '../../lib/index.ts';
import { isFake } from './fake_lab.ts';

/** Bits of PCI's Command register. */
export const memory = 2;
export const busMaster = 4;

function position({ info }: VfioDevice): number {
  const config = info.regions.find(({ name }) => name === 'config');
  if (config === undefined) throw new Error('the device has no config space');
  return Number(config.offset) + 4;
}

/** Reading the descriptor's number ends the device's request events. */
export function readCommand(device: VfioDevice): number {
  if (isFake) return device.region('config').read16(4);
  const bytes = Buffer.alloc(2);
  readSync(device.fd, bytes, 0, 2, position(device));
  return bytes.readUInt16LE();
}

export function writeCommand(device: VfioDevice, command: number): void {
  if (isFake) {
    device.region('config').write16(4, command);
    return;
  }
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(command);
  writeSync(device.fd, bytes, 0, 2, position(device));
}
