import type { SysfsDevice } from '../core/location.ts';
import { readAttribute } from '../locate/sysfs.ts';
import type { HostRoots } from './host_roots.ts';

/** A file that has a device with its driver at every start. */
export interface PersistentRule {
  path: string;
  text: string;
}

/**
 * Where the rule of a device is. The number has udev go by it before 80-drivers.rules, which loads
 * the module of the host's driver.
 */
export function rulePath({ bus, address }: SysfsDevice, { etcRoot }: HostRoots): string {
  return `${etcRoot}/udev/rules.d/70-vfio-bind-${bus}-${address.replace(/[^\w:.-]/g, '_')}.rules`;
}

/**
 * The udev rule that gives a device to a driver as it appears: sets its `driver_override` (udev(7),
 * ATTR), loads the driver, and asks the bus, since a driver that was loaded before does not look
 * again. It takes the device from no other driver: "add" is told again by `udevadm trigger`, and the
 * host may use the device by then. It names the model, too: another device at the same place is
 * left alone.
 */
export function ruleOf(device: SysfsDevice, driver: string, roots: HostRoots): PersistentRule {
  const { bus, address, sysfsPath } = device;
  const model = ['vendor', 'device'].flatMap((name) => {
    const value = readAttribute(`${sysfsPath}/${name}`);
    return value === undefined ? [] : [`ATTR{${name}}=="${value}"`];
  });
  const conditions = [
    'ACTION=="add"',
    `SUBSYSTEM=="${bus}"`,
    `KERNEL=="${address.replace(/[*?[\]|\\"]/g, '?')}"`,
    ...model,
  ];
  const acts = [
    `ATTR{driver_override}="${driver}"`,
    `RUN{builtin}+="kmod load ${driver}"`,
    // One that has a driver stays as it is (drivers_probe_store, drivers/base/bus.c).
    `RUN+="/bin/sh -c 'echo %k > /sys/bus/${bus}/drivers_probe'"`,
  ];
  const text = `# vfio bind --persist wrote this; vfio unbind --persist removes it.
${[...conditions, ...acts].join(', ')}
`;
  return { path: rulePath(device, roots), text };
}
