import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { inspect } from 'node:util';
import { Qmp } from '../../lab/guest/qmp.ts';
import type { TestDevice } from './devices.ts';
import { holdFake, isFake } from './fake_lab.ts';
import { rebind, unbind } from './hotplug.ts';

/** How many commands a second the disk of a controller of the lab does; 0 for as many as it can. */
export async function throttle(device: TestDevice, iops: number): Promise<void> {
  if (isFake) {
    holdFake(iops > 0);
    return;
  }
  await using qmp = await Qmp.connect();
  await throttleBy(qmp, device, iops);
}

/** The same for who has the monitor already. */
export async function throttleBy(qmp: Qmp, { name }: TestDevice, iops: number): Promise<void> {
  const none = { bps: 0, bps_rd: 0, bps_wr: 0, iops_rd: 0, iops_wr: 0 };
  await qmp.execute('block_set_io_throttle', { id: name, iops, ...none });
}

/** A disk of QEMU, for a controller that is plugged. */
export async function addDisk(node: Record<string, unknown>): Promise<void> {
  await using qmp = await Qmp.connect();
  await qmp.execute('blockdev-add', node);
}

/**
 * Waits until QEMU has taken the device from its slot. It does not say DEVICE_DELETED (7.2): the
 * scatter lists of reads that were under way when the controller was switched off keep the device,
 * and its disk with it, until the VM ends.
 */
export async function untilUnplugged(qmp: Qmp, { name }: TestDevice): Promise<void> {
  for (;;) {
    const path = '/machine/peripheral';
    const there = (await qmp.execute('qom-list', { path })) as { name: string }[];
    if (!there.some((each) => each.name === name)) return;
    await setTimeout(20);
  }
}

/** How many reads of a disk there were. */
export async function readsOf(qmp: Qmp, node: string): Promise<number> {
  const disks = (await qmp.execute('query-blockstats')) as {
    'node-name'?: string;
    stats: { rd_operations: number };
  }[];
  const disk = disks.find((each) => each['node-name'] === node);
  assert.ok(disk, inspect(disks));
  return disk.stats.rd_operations;
}

/** Has the kernel's own driver read all of the first namespace. The device is vfio-pci's after it. */
export async function readByKernel(device: TestDevice): Promise<Buffer> {
  return withKernelDriver(device, (disk) => readFileSync(disk));
}

/** Gives a device to the kernel's own driver meanwhile: `body` gets the node of its disk. */
export async function withKernelDriver<T>(
  device: TestDevice,
  body: (disk: string) => T,
): Promise<T> {
  const folder = `/sys/bus/pci/devices/${device.address}`;
  spawnSync('modprobe', ['nvme']);
  await unbind(device);
  try {
    writeFileSync(`${folder}/driver_override`, 'nvme\n');
    writeFileSync('/sys/bus/pci/drivers_probe', device.address);
    return body(await blockNode(folder));
  } finally {
    if (existsSync(`${folder}/driver`)) await unbind(device);
    rebind(device);
  }
}

/** The node of the first namespace, which is there when the driver has found it. */
async function blockNode(folder: string): Promise<string> {
  for (;;) {
    const [controller] = existsSync(`${folder}/nvme`) ? readdirSync(`${folder}/nvme`) : [];
    const names = controller ? readdirSync(`${folder}/nvme/${controller}`) : [];
    const name = names
      .map((each) => each.replace(/c\d+(?=n)/, ''))
      .find((each) => /^nvme\d+n1$/.test(each));
    if (name !== undefined && existsSync(`/dev/${name}`)) return `/dev/${name}`;
    await setTimeout(20);
  }
}
