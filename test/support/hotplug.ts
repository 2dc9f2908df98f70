import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { Qmp } from '../../lab/guest/qmp.ts';
import type { TestDevice } from './devices.ts';
import { isFake } from './fake_lab.ts';

/** Writes to sysfs in another process: the kernel may keep the writer waiting. */
async function write(path: string, text: string): Promise<void> {
  const child = spawn('sh', ['-c', 'printf %s "$1" > "$2"', 'sh', text, path], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const [status] = (await once(child, 'exit')) as [number];
  if (status !== 0) throw new Error(`cannot write ${text} to ${path}`);
}

const sysfs = ({ bus, address }: TestDevice): string => `/sys/bus/${bus}/devices/${address}`;

/** Takes the device from its driver; done when the kernel is. */
export async function unbind(device: TestDevice): Promise<void> {
  await write(`${sysfs(device)}/driver/unbind`, device.address);
}

/** Gives a device back to vfio-pci. */
export function rebind(device: TestDevice): void {
  writeFileSync(`${sysfs(device)}/driver_override`, 'vfio-pci\n');
  writeFileSync('/sys/bus/pci/drivers_probe', device.address);
}

/** Unplugs a device of the lab that is behind a port; done when it is gone. */
export async function unplug({ name }: TestDevice): Promise<void> {
  await using qmp = await Qmp.connect();
  await qmp.execute('device_del', { id: name });
  await qmp.event('DEVICE_DELETED', ({ data }) => data['device'] === name);
}

/** Plugs it in again, with QEMU's properties for its kind, and gives it to vfio-pci. */
export async function plug(
  device: TestDevice,
  properties: Record<string, unknown> = {},
): Promise<void> {
  await plugFunctions(device, [0], properties);
}

/** Plugs it in again with these functions, 0 the last of them; answers their devices. */
export async function plugFunctions(
  device: TestDevice,
  functions: readonly number[],
  properties: Record<string, unknown> = {},
): Promise<TestDevice[]> {
  await using qmp = await Qmp.connect();
  const { name, kind, address } = device;
  const plugged = functions.map((number) => ({
    ...device,
    name: number === 0 ? name : `${name}-${number}`,
    address: address.replace(/\d$/, String(number)),
  }));
  for (const [at, one] of plugged.entries()) {
    await qmp.execute('device_add', {
      ...properties,
      driver: kind,
      id: one.name,
      bus: `${name}-root`,
      addr: `0.${functions[at] ?? 0}`,
      multifunction: functions.length > 1,
    });
  }
  for (const one of plugged) {
    while (!existsSync(`${sysfs(one)}/driver_override`)) await setTimeout(20);
    await rebindNew(one);
  }
  return plugged;
}

/**
 * The bus finds a new device a moment after sysfs shows it, and says ENODEV until then. A driver of
 * the host that another test loaded may have taken it before it had its override.
 */
async function rebindNew(device: TestDevice): Promise<void> {
  for (;;) {
    try {
      rebind(device);
      const driver = driverOf(device);
      if (driver === undefined || driver === 'vfio-pci') return;
      await unbind(device);
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENODEV')) throw error;
      await setTimeout(20);
    }
  }
}

/** The name of its driver. */
export function driverOf(device: TestDevice): string | undefined {
  if (isFake) return 'vfio-pci';
  const uevent = readFileSync(`${sysfs(device)}/uevent`, 'utf8');
  return /^DRIVER=(.*)$/m.exec(uevent)?.[1];
}

/** Whether this kernel has a driver as a module: the lab's 7.3 has few. */
export function hasModule(name: string): boolean {
  return spawnSync('modprobe', ['--dry-run', name]).status === 0;
}
