import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Roots } from '../../lib/core/location.ts';
import { openCdev } from '../../lib/index.ts';
import { failure } from './errors.ts';
import { tree } from './tree.ts';

/** The device whose cdev `vfio7` in {@link fakeVfio} is /dev/null's numbers. */
export const fakeAddress = '0000:3b:00.0';

/** `vfio7`'s place below the root of nodes. */
export const fakeNode = 'vfio/devices/vfio7';

/**
 * A sysfs in which the cdev of one PCI device has the numbers of /dev/null, and a /dev without it.
 */
export function fakeVfio(numbers = '1:3'): Roots {
  const device = `devices/pci0000:3a/${fakeAddress}`;
  const root = tree({
    [`sys/${device}/subsystem`]: { pointsTo: '../../../bus/pci' },
    [`sys/${device}/vfio-dev/vfio7/dev`]: `${numbers}\n`,
    [`sys/${device}/vfio-dev/vfio7/device`]: { pointsTo: `../../../${fakeAddress}` },
    [`sys/bus/pci/devices/${fakeAddress}`]: { pointsTo: `../../../${device}` },
    [`sys/dev/char/${numbers}`]: { pointsTo: `../../${device}/vfio-dev/vfio7` },
    'sys/class/mem/null/dev': '1:3\n',
    'sys/class/misc/rfkill/uevent': '',
    'dev/null': { pointsTo: '/dev/null' },
    'dev/vfio/vfio': { pointsTo: '/dev/null' },
  });
  return { sysfsRoot: join(root, 'sys'), devRoot: join(root, 'dev') };
}

/** Puts a link to a real device in a node's place. */
export function putNode({ devRoot }: Roots, path: string, pointsTo: string): void {
  const file = join(devRoot, path);
  mkdirSync(dirname(file), { recursive: true });
  rmSync(file, { force: true, recursive: true });
  symlinkSync(pointsTo, file);
}

/** Puts a regular file in a node's place. */
export function putFile({ devRoot }: Roots, path: string): void {
  const file = join(devRoot, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, '');
}

/** Waits for a node in vain: the first wait makes what the environment then keeps open. */
export async function firstWait(): Promise<void> {
  await failure(() => openCdev(fakeAddress, { ...fakeVfio(), timeout: 1 }), 'ENOENT');
}
