import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { driverOf, hasModule } from './hotplug.ts';

/** Two devices of one group: the lab's chip set has them beside a bridge to ISA. */
export const smbus = '0000:00:1f.3';
export const sata = '0000:00:1f.2';

/** Runs the body while vfio-pci has the first of them and the host the other, by ahci. */
export async function withSiblingOnHost(body: () => Promise<void>): Promise<void> {
  await chipSet(async () => {
    toVfio(smbus);
    execFileSync('modprobe', ['ahci']);
    await body();
  });
}

/** Runs the body while vfio-pci has both. */
export async function withBothOnVfio(body: () => Promise<void>): Promise<void> {
  await chipSet(async () => {
    toVfio(smbus);
    toVfio(sata);
    await body();
  });
}

/** Before and after the body both are as the lab boots them: no driver has them, and none will. */
async function chipSet(body: () => Promise<void>): Promise<void> {
  try {
    await body();
  } finally {
    for (const address of [smbus, sata]) toNone(address);
    if (hasModule('ahci')) execFileSync('modprobe', ['-r', 'ahci']);
  }
}

function toVfio(address: string): void {
  writeFileSync(`/sys/bus/pci/devices/${address}/driver_override`, 'vfio-pci');
  writeFileSync('/sys/bus/pci/drivers_probe', address);
}

function toNone(address: string): void {
  const device = { name: address, kind: 'host', bus: 'pci', address };
  const folder = `/sys/bus/pci/devices/${address}`;
  if (driverOf(device) !== undefined) writeFileSync(`${folder}/driver/unbind`, address);
  writeFileSync(`${folder}/driver_override`, '\n');
}
