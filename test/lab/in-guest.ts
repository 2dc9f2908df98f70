/** Runs inside the lab for devices.test.ts: says what is there, then unplugs edu-port. */
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout } from 'node:timers/promises';

import { Qmp } from '../../lab/guest/qmp.ts';

interface Device {
  name: string;
  bus: string;
  address: string;
}

const SECONDS_TO_LEAVE = 120;

function folder({ bus, address }: Device): string {
  return `/sys/bus/${bus}/devices/${address}`;
}

function linkName(path: string): string {
  return existsSync(path) ? basename(readlinkSync(path)) : '';
}

/** A folder vfio-dev/vfioN with the numbers of a node that is there. */
function hasNode(device: Device): boolean {
  const parent = join(folder(device), 'vfio-dev');
  if (!existsSync(parent)) return false;
  return readdirSync(parent).every(
    (name) => existsSync(join(parent, name, 'dev')) && existsSync(`/dev/vfio/devices/${name}`),
  );
}

async function unplug(device: Device): Promise<{ before: boolean; after: boolean }> {
  const before = existsSync(folder(device));
  const qmp = await Qmp.connect();
  await qmp.execute('device_del', { id: device.name });
  await qmp.event('DEVICE_DELETED', ({ data }) => data['device'] === device.name);
  await qmp.close();
  const until = Date.now() + SECONDS_TO_LEAVE * 1000;
  while (existsSync(folder(device)) && Date.now() < until) await setTimeout(10);
  return { before, after: existsSync(folder(device)) };
}

const manifest = readFileSync(process.env['VFIO_LAB_DEVICES'] ?? '', 'utf8');
const devices = JSON.parse(manifest) as Device[];
const seen = devices.map((device) => ({
  name: device.name,
  bus: device.bus,
  driver: linkName(join(folder(device), 'driver')),
  node: hasNode(device),
  group: linkName(join(folder(device), 'iommu_group')),
}));
const victim = devices.find(({ name }) => name === 'edu-port');
if (!victim) throw new Error('the manifest has no edu-port');
const report = { devices: seen, iommu: existsSync('/dev/iommu'), unplugged: await unplug(victim) };
process.stdout.write(JSON.stringify(report));
